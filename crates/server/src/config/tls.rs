//! `[tls]`: certificate and key.

use std::path::Path;

use tidings::Tls;

use super::document::{Node, Table};
use super::keys::TLS;
use super::problem::Problem;
use super::section::{Section, text};

/// Reads the table, and the files that it names. `folder` is where their names begin. None where none is named.
pub(super) fn read(table: Table, folder: &Path, problems: &mut Vec<Problem>) -> Option<Tls> {
    let absent = ["cert", "key"].map(|key| !table.contains_key(key));
    let mut section = Section::new("tls.", &TLS, table, problems);
    let file = |node: &Node| match text(node)?.as_str() {
        "" => Err("an empty text given; it is the name of a file".to_owned()),
        name => Ok(folder.join(name)),
    };
    let cert = section.read_placed("cert", file);
    let key = section.read_placed("key", file);
    let tls = match (cert, key) {
        (Some((cert, cert_origin)), Some((key, key_origin))) => match Tls::from_pem_files(cert, key) {
            Ok(tls) => Some(tls),
            Err(error) => {
                let (origin, name) = if error.is_about_key() {
                    (key_origin, "key")
                } else {
                    (cert_origin, "cert")
                };
                section.problem(origin, name, &error.to_string());
                None
            }
        },
        (Some((_, origin)), None) if absent == [false, true] => {
            section.problem(
                origin,
                "key",
                "it is missing; with `cert` goes the file of its private key",
            );
            None
        }
        (None, Some((_, origin))) if absent == [true, false] => {
            section.problem(
                origin,
                "cert",
                "it is missing; with `key` goes the file of its certificate",
            );
            None
        }
        _ => None,
    };
    section.finish();
    tls
}
