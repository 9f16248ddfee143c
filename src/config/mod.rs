//! Stand-in until the option table lands.
#[derive(Clone, Debug, Default)]
pub struct Config;
pub struct OutputLimit {
    pub hard_bytes: u64,
    pub soft_bytes: u64,
    pub soft_seconds: u64,
}
impl Config {
    pub fn requirepass(&self) -> &str {
        ""
    }
    pub fn databases(&self) -> usize {
        16
    }
    pub fn protected_mode(&self) -> bool {
        true
    }
    pub fn maxclients(&self) -> u32 {
        10000
    }
    pub fn maxmemory(&self) -> u64 {
        0
    }
    pub fn maxmemory_policy(&self) -> &str {
        "noeviction"
    }
    pub fn hz(&self) -> u32 {
        10
    }
    pub fn timeout(&self) -> u32 {
        0
    }
    pub fn proto_max_bulk_len(&self) -> usize {
        512 << 20
    }
    pub fn client_query_buffer_limit(&self) -> u64 {
        1 << 30
    }
    pub fn output_limit_normal(&self) -> OutputLimit {
        OutputLimit { hard_bytes: 0, soft_bytes: 0, soft_seconds: 0 }
    }
    pub fn get(&self, _p: &[&[u8]]) -> Vec<(String, String)> {
        vec![]
    }
    pub fn set_all(&mut self, _p: &[(&[u8], &[u8])]) -> Result<(), String> {
        Ok(())
    }
}
