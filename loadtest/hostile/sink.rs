//! Takes an attack in place of ghostpin: what the attacker and the machine cost by themselves.

use std::io::{self, Read};
use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// Between two looks at all that has come.
const LOOK: Duration = Duration::from_millis(20);

/// Listens, prints where, and goes on until its process is ended.
pub fn run() -> io::Result<()> {
    crate::raise_file_limit()?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    let links = Arc::new(Mutex::new(Vec::new()));
    let all = links.clone();
    thread::spawn(move || {
        let mut space = vec![0; 1 << 16];
        loop {
            let mut links = all.lock().unwrap_or_else(PoisonError::into_inner);
            links.retain_mut(|link: &mut std::net::TcpStream| {
                loop {
                    match link.read(&mut space) {
                        Ok(0) => return false,
                        Ok(_) => {}
                        Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
                    }
                }
            });
            drop(links);
            thread::sleep(LOOK);
        }
    });
    for link in listener.incoming() {
        let link = link?;
        link.set_nonblocking(true)?;
        links.lock().unwrap_or_else(PoisonError::into_inner).push(link);
    }
    Ok(())
}
