//! ghostpin's command line.

use std::process::ExitCode;

use ghostpin::cli::Cli;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    Cli::main()
}
