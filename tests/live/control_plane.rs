//! A real etcd and kube-apiserver with both audit backends, and somebody who abuses them.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use crate::watcher::Watcher;

/// Static tokens: one of an administrator, one of somebody without any right.
const TOKENS: &str = "admin-token,admin,1,\"system:masters\"\nbob-token,bob,2,\"dev\"\n";

/// What bob may not see, in each of [`NAMESPACES`].
const RESOURCES: [&str; 4] = [
    "/api/v1/namespaces/{}/secrets",
    "/api/v1/namespaces/{}/serviceaccounts",
    "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles",
    "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings",
];

const NAMESPACES: [&str; 3] = ["default", "kube-system", "kube-public"];

pub(crate) struct ControlPlane {
    etcd: Child,
    api_server: Child,
    client: reqwest::Client,
    url: String,
    log: PathBuf,
}

impl ControlPlane {
    /// Starts both and waits until the API server is ready.
    pub(crate) async fn start(assets: &Path, folder: &Path, watcher: &Watcher) -> Self {
        let (client_port, peer_port, port) = (free_port(), free_port(), free_port());
        let at = |name: &str| folder.join(name);
        let policy = "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\n\
                      rules: [{level: Metadata}]\n";
        fs::write(at("policy.yaml"), policy).unwrap();
        fs::write(at("tokens.csv"), TOKENS).unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        fs::write(at("service-account.key"), key.serialize_pem()).unwrap();
        fs::write(at("service-account.pub"), key.public_key_pem()).unwrap();
        fs::write(at("webhook.yaml"), watcher.kubeconfig()).unwrap();

        let etcd_url = format!("http://127.0.0.1:{client_port}");
        let etcd = spawn(
            Command::new(assets.join("etcd")).args([
                format!("--data-dir={}", at("etcd").display()),
                format!("--listen-client-urls={etcd_url}"),
                format!("--advertise-client-urls={etcd_url}"),
                format!("--listen-peer-urls=http://127.0.0.1:{peer_port}"),
            ]),
            &at("etcd.log"),
        );
        let of = |flag: &str, name: &str| format!("--{flag}={}", at(name).display());
        let api_server = spawn(
            Command::new(assets.join("kube-apiserver")).args([
                format!("--etcd-servers={etcd_url}"),
                format!("--secure-port={port}"),
                "--bind-address=127.0.0.1".to_owned(),
                of("cert-dir", "certificates"),
                "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
                of("service-account-key-file", "service-account.pub"),
                of("service-account-signing-key-file", "service-account.key"),
                "--service-cluster-ip-range=10.9.0.0/24".to_owned(),
                "--authorization-mode=RBAC".to_owned(),
                of("token-auth-file", "tokens.csv"),
                of("audit-policy-file", "policy.yaml"),
                of("audit-log-path", "audit.log"),
                of("audit-webhook-config-file", "webhook.yaml"),
                "--audit-webhook-batch-max-wait=1s".to_owned(),
            ]),
            &at("api-server.log"),
        );
        let client = reqwest::Client::builder()
            .danger_accept_invalid_certs(true)
            .no_proxy()
            .user_agent("kubectl/v1.37.2 (linux/amd64) kubernetes/0000000")
            .build()
            .unwrap();
        let plane = Self {
            etcd,
            api_server,
            client,
            url: format!("https://127.0.0.1:{port}"),
            log: at("audit.log"),
        };
        let deadline = tokio::time::Instant::now() + crate::PATIENCE;
        while plane.get("admin-token", "/readyz", &[]).await != Some(200) {
            assert!(
                tokio::time::Instant::now() < deadline,
                "the API server is not ready:\n{}",
                fs::read_to_string(at("api-server.log")).unwrap()
            );
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
        plane
    }

    /// Bob tries what he may not; an administrator acts as a controller and reads all secrets.
    pub(crate) async fn attack(&self) {
        for (resource, namespace) in RESOURCES
            .into_iter()
            .flat_map(|resource| NAMESPACES.map(|namespace| (resource, namespace)))
        {
            let path = resource.replace("{}", namespace);
            assert_eq!(self.get("bob-token", &path, &[]).await, Some(403));
        }
        let controller = [("Impersonate-User", "system:kube-controller-manager")];
        let code = self
            .get("admin-token", "/api/v1/secrets", &controller)
            .await;
        assert_eq!(code, Some(200));
    }

    /// The audit log that it writes.
    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    async fn get(&self, token: &str, path: &str, headers: &[(&str, &str)]) -> Option<u16> {
        let request = self
            .client
            .get(format!("{}{path}", self.url))
            .bearer_auth(token);
        let request = headers.iter().fold(request, |request, (name, value)| {
            request.header(*name, *value)
        });
        Some(request.send().await.ok()?.status().as_u16())
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        for child in [&mut self.api_server, &mut self.etcd] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Starts a server whose words go to a file.
fn spawn(command: &mut Command, log: &Path) -> Child {
    let log = fs::File::create(log).unwrap();
    command.stdout(Stdio::null()).stderr(log).spawn().unwrap()
}

/// A port that nobody listens on now.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}
