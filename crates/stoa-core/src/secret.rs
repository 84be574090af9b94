//! Which environment variables and files are secrets. One list, used by clients, sandboxes and records.

/// What stands in a record for a secret's value.
pub const MASK: &str = "***";

/// Parts of a variable's name, between underscores, that make it a secret.
const SECRET_WORDS: [&str; 10] =
    ["TOKEN", "SECRET", "SECRETS", "PASSWORD", "PASSWD", "PASSPHRASE", "CREDENTIAL", "CREDENTIALS", "APIKEY", "AUTH"];

/// Pairs of neighbouring parts that make a name a secret, such as `OPENAI_API_KEY`.
const SECRET_PAIRS: [(&str, &str); 5] =
    [("API", "KEY"), ("ACCESS", "KEY"), ("PRIVATE", "KEY"), ("SIGNING", "KEY"), ("ENCRYPTION", "KEY")];

/// Names that open a door though they do not look like it: agent and session sockets, and configuration with keys in it.
const SECRET_NAMES: [&str; 12] = [
    "SSH_AUTH_SOCK",
    "SSH_AGENT_PID",
    "GPG_AGENT_INFO",
    "DBUS_SESSION_BUS_ADDRESS",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "KUBECONFIG",
    "DOCKER_CONFIG",
    "DOCKER_HOST",
    "NETRC",
    "PGPASSFILE",
    "XAUTHORITY",
    "WAYLAND_DISPLAY",
];

/// Paths below a home folder that hold credentials.
pub const CREDENTIAL_PATHS: [&str; 29] = [
    ".ssh",
    ".gnupg",
    ".aws",
    ".azure",
    ".config/gcloud",
    ".config/gh",
    ".config/hub",
    ".config/op",
    ".config/rclone",
    ".config/BraveSoftware",
    ".config/chromium",
    ".config/google-chrome",
    ".config/microsoft-edge",
    ".docker",
    ".kube",
    ".mozilla",
    ".netrc",
    ".pypirc",
    ".npmrc",
    ".git-credentials",
    ".pgpass",
    ".my.cnf",
    ".cargo/credentials",
    ".cargo/credentials.toml",
    ".huggingface",
    ".kaggle",
    ".cache/huggingface/token",
    ".local/share/keyrings",
    ".password-store",
];

/// Whether a variable of this name is kept from runs unless the user names it with `--env`.
pub fn is_secret_name(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    if SECRET_NAMES.contains(&upper.as_str()) {
        return true;
    }
    let parts: Vec<&str> = upper.split('_').collect();
    parts.iter().any(|part| SECRET_WORDS.contains(part))
        || parts.windows(2).any(|pair| SECRET_PAIRS.contains(&(pair[0], pair[1])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_told_from_settings() {
        for name in
            ["OPENAI_API_KEY", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "db_password", "SSH_AUTH_SOCK", "WANDB_API_KEY"]
        {
            assert!(is_secret_name(name), "{name}");
        }
        for name in [
            "PATH",
            "HOME",
            "TOKENIZERS_PARALLELISM",
            "KEYBOARD",
            "AUTHOR",
            "XDG_RUNTIME_DIR",
            "OMP_NUM_THREADS",
            "MONKEY",
        ] {
            assert!(!is_secret_name(name), "{name}");
        }
    }
}
