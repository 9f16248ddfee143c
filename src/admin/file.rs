//! Files that commands write: the work is done beside the lanes, and the command asks now and then whether it is over.

use std::sync::mpsc::Receiver;

/// Makes the new content of a file from the old one.
pub type Make = Box<dyn FnOnce(&[u8]) -> Vec<u8> + Send>;

/// Whether a file was replaced: what it holds now is on the disk, or why it is as it was.
pub type Outcome = Receiver<Result<(), String>>;

/// Begins to replace a file, all or nothing.
pub type Replace = fn(&str, Make) -> Outcome;

/// What a file holds, or why it cannot be read.
pub type Content = Receiver<Result<Vec<u8>, String>>;

/// Begins to read a file.
pub type Read = fn(&str) -> Content;

/// Where there is no disk to read from.
pub fn no_file(_: &str) -> Content {
    std::sync::mpsc::channel().1
}

/// Where there is no disk.
pub fn no_disk(_: &str, _: Make) -> Outcome {
    std::sync::mpsc::channel().1
}
