//! What is shipped may be used under MIT or Apache-2.0, and links one crypto provider at most.

use super::{closure, metadata, spdx};
use crate::workspace::Workspace;
use anyhow::Result;
use cargo_metadata::{Metadata, Package};

/// The programs that are shipped.
const SHIPPED: [&str; 2] = ["stoa", "stoa-warden"];

/// Licences that put no condition on a program beyond naming the author.
const ACCEPTED: [&str; 15] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unicode-DFS-2016",
    "Unlicense",
    "Zlib",
];

/// Crypto and TLS providers beside `ring`, the one that is used.
const OTHER_CRYPTO: [&str; 9] =
    ["aws-lc-rs", "aws-lc-sys", "boring", "boring-sys", "graviola", "mbedtls", "native-tls", "openssl", "openssl-sys"];

pub(super) fn check(workspace: &Workspace) -> Result<Vec<String>> {
    let metadata = metadata(workspace)?;
    let mut findings = Vec::new();
    for program in SHIPPED {
        if metadata.packages.iter().any(|package| package.name.as_str() == program) {
            let crates = closure(workspace, program, "normal,build")?;
            findings.extend(licences(&metadata, &crates)?);
            findings.extend(crypto(program, &crates));
        }
    }
    findings.sort();
    findings.dedup();
    Ok(findings)
}

fn licences(metadata: &Metadata, crates: &[(String, String)]) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    for (name, version) in crates {
        let same = |package: &&Package| package.name.as_str() == name && package.version.to_string() == *version;
        let licence = metadata.packages.iter().find(same).and_then(|package| package.license.as_deref());
        findings.extend(verdict(name, version, licence)?);
    }
    Ok(findings)
}

fn verdict(name: &str, version: &str, licence: Option<&str>) -> Result<Option<String>> {
    let Some(licence) = licence else {
        return Ok(Some(format!("{name} {version} names no licence")));
    };
    let accepted = spdx::satisfied(licence, &ACCEPTED)?;
    Ok((!accepted).then(|| format!("{name} {version} is licensed under {licence}, which is not accepted")))
}

fn crypto(program: &str, crates: &[(String, String)]) -> Vec<String> {
    let others = crates.iter().filter(|(name, _)| OTHER_CRYPTO.contains(&name.as_str()));
    others
        .map(|(name, version)| format!("{program} links {name} {version}: `ring` is the one crypto provider"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_licence_that_binds_its_user_is_found() {
        assert_eq!(verdict("a", "1.0.0", Some("MIT OR Apache-2.0")).unwrap(), None);
        for licence in [None, Some("MPL-2.0"), Some("LGPL-2.1-or-later"), Some("MIT AND GPL-2.0-only")] {
            assert!(verdict("a", "1.0.0", licence).unwrap().is_some(), "{licence:?}");
        }
    }

    #[test]
    fn a_second_crypto_provider_is_found() {
        let pair = |name: &str| (name.to_owned(), "1.0.0".to_owned());
        assert_eq!(crypto("stoa", &[pair("ring"), pair("rustls")]), Vec::<String>::new());
        assert_eq!(crypto("stoa", &[pair("ring"), pair("aws-lc-rs")]).len(), 1);
    }
}
