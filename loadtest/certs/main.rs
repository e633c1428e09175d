//! Makes a great many certificates at once, in the forms that servers want: `certs --count 10000 --out FOLDER`.
//!
//! `pairs/` has NAME.crt and NAME.key, `pem/` has both in one file; `renewed/` has newer ones for every n-th name, as
//! many as are asked for. The names are `s000000.example` and on. It writes to a folder that is not there yet, and
//! renames it when all is there, so a folder is whole or absent.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;

use clap::Parser;
use ghostpin::certs_dev::{Authority, Name, new_key};

type Done = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// Makes a great many certificates at once.
#[derive(Parser)]
struct Arguments {
    /// How many.
    #[arg(long)]
    count: usize,
    /// How many of them get a newer one, too.
    #[arg(long, default_value_t = 100)]
    renewed: usize,
    /// The folder to write to, which must not be there.
    #[arg(long)]
    out: PathBuf,
}

fn main() -> ExitCode {
    match make(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("certs: {error}");
            ExitCode::FAILURE
        }
    }
}

fn make(arguments: &Arguments) -> Done {
    let Arguments { count, renewed, out } = arguments;
    if out.exists() {
        return Err(format!("{} is there; remove it, or choose another with --out", out.display()).into());
    }
    let draft = out.with_extension("draft");
    if draft.exists() {
        fs::remove_dir_all(&draft)?;
    }
    let authority = Authority::new(&[])?;
    write_all(&authority, &draft, *count, 1)?;
    if *renewed > 0 {
        write_all(&authority, &draft.join("renewed"), *count, count.div_ceil(*renewed).max(1))?;
    }
    fs::write(draft.join("ca.crt"), authority.certificate_pem())?;
    fs::rename(&draft, out)?;
    Ok(())
}

/// Every `step`-th of so many, shared out among the cores.
fn write_all(authority: &Authority, folder: &Path, count: usize, step: usize) -> Done {
    fs::create_dir_all(folder.join("pairs"))?;
    fs::create_dir_all(folder.join("pem"))?;
    let cores = thread::available_parallelism()?.get();
    thread::scope(|scope| {
        let shares: Vec<_> = (0..cores)
            .map(|share| {
                let mut numbers = (0..count).step_by(step).skip(share).step_by(cores);
                scope.spawn(move || numbers.try_for_each(|number| write(authority, folder, number)))
            })
            .collect();
        shares.into_iter().try_for_each(|share| share.join().expect("nothing panics there"))
    })
}

fn write(authority: &Authority, folder: &Path, number: usize) -> Done {
    let name = format!("s{number:06}.example");
    let key = new_key()?;
    let certificate = authority.issue(&name.parse::<Name>()?, &key)?;
    let key = key.serialize_pem();
    put(&folder.join(format!("pairs/{name}.crt")), &[&certificate])?;
    put(&folder.join(format!("pairs/{name}.key")), &[&key])?;
    put(&folder.join(format!("pem/{name}.pem")), &[&certificate, &key])?;
    Ok(())
}

fn put(path: &Path, parts: &[&str]) -> io::Result<()> {
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
    parts.iter().try_for_each(|part| file.write_all(part.as_bytes()))
}
