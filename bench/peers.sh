#!/bin/sh
# Fetches the peers that this machine's own Debian does not carry: valkey-server 9 and redis-server 8 from sid.
#
#   bench/peers.sh FOLDER [MIRROR]
#
# They go into a chroot-like folder of their own and are run by that folder's dynamic loader, so neither the machine's
# libraries nor its apt sources change:
#
#   FOLDER/root/            minimal Debian sid with the two servers
#   FOLDER/redis8           starts redis-server 8 with the arguments given
#   FOLDER/valkey9          starts valkey-server 9 with the arguments given
#
# The wrappers `exec`, so the process that `corelane-bench compare` starts is the server itself, and its pid is the one
# that is measured and ended.
set -eu

folder=${1:?usage: bench/peers.sh FOLDER}
mirror=${2:-} # empty: debootstrap's own default
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
root=$folder/root

command -v debootstrap >/dev/null || { echo "debootstrap is missing: apt-get install debootstrap" >&2; exit 1; }

if [ ! -x "$root/usr/bin/valkey-server" ] || [ ! -x "$root/usr/bin/redis-server" ]; then
    # Unpacking is enough: nothing in the folder is ever booted, so the second stage (and root's mounts) is not needed.
    rm -rf "$root"
    debootstrap --variant=minbase --foreign --include=redis-server,valkey-server sid "$root" ${mirror:+"$mirror"}
    for package in "$root"/var/cache/apt/archives/*.deb; do
        case ${package##*/} in
            redis-* | valkey-* | lib*) dpkg-deb -x "$package" "$root" ;;
        esac
    done
    rm -f "$root"/var/cache/apt/archives/*.deb
fi

libraries=$root/usr/lib/x86_64-linux-gnu
loader=$libraries/ld-linux-x86-64.so.2
wrapper() {
    printf '#!/bin/sh\nexec "%s" --library-path "%s" "%s" "$@"\n' "$loader" "$libraries" "$root/usr/bin/$2" >"$folder/$1"
    chmod +x "$folder/$1"
    "$folder/$1" --version
}
wrapper redis8 redis-server
wrapper valkey9 valkey-server
