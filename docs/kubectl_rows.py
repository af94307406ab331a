"""What khealth makes of a kubeconfig and of the environment: docs/kubectl.md shows each row, and a test proves it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

SERVER = "https://a.example.com"
"""The server of a row that names none."""

SHOWN = "`Authorization: Bearer T`"
IMPERSONATE = "Impersonate-User: jane"
API = "client.authentication.k8s.io"
EXEC = f"exec: {{apiVersion: {API}/v1, command: ./plugin, interactiveMode: Never}}"
JWT = "eyJhbGciOiJub25lIn0.eyJleHAiOjQxMDI0NDQ4MDB9.c2lnbmF0dXJl"
"""An id-token that is valid until 2100."""
EXPIRED = "eyJhbGciOiJub25lIn0.eyJleHAiOjF9.c2lnbmF0dXJl"
OIDC = "name: oidc, config: {idp-issuer-url: 'https://idp', client-id: k, refresh-token: r"
NOTHING = "error: user a has no token, certificate, username, exec, or auth-provider"
NO_SOCKS = "a SOCKS proxy is not supported, only an HTTP proxy, http:// or https://"
CERTIFICATE = "client-certificate: client.crt, client-key: client.key"


@dataclass(frozen=True)
class Row:
    """What a cluster and a user hold, in YAML; the environment; and what khealth does then."""

    outcome: str
    """The headers, the proxy, and so on, as the test writes them; or `error: ` and the message."""
    user: str = "token: T"
    cluster: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    kubectl: str = ""
    """What kubectl does instead, if not the same."""


ROWS: Mapping[str, tuple[Row, ...]] = {
    "Tokens, passwords, and certificates": (
        Row(SHOWN),
        Row("`Authorization: Bearer of-file`", "tokenFile: token"),
        Row("`Authorization: Bearer of-file`", "token: T, tokenFile: token"),
        Row(SHOWN, "token: T, tokenFile: missing"),
        Row("`Authorization: Basic bWU6cHc=`", "username: me, password: pw"),
        Row("`Authorization: Basic bWU6`", "username: me"),
        Row("error: user a: more than one of token and username", "token: T, username: me"),
        Row("error: more than one of token and username", "tokenFile: token, username: me, password: pw"),
        Row("`Authorization: Bearer of-file`", "tokenFile: token, password: pw"),
        Row(
            "`http://127.0.0.1:8001`, no credentials",
            "tokenFile: token, username: me",
            "server: 'http://127.0.0.1:8001'",
        ),
        Row("client certificate", CERTIFICATE),
        Row(f"{SHOWN}, client certificate", f"token: T, {CERTIFICATE}"),
        Row(
            "error: user a: a client certificate without client-key or client-key-data",
            "client-certificate: client.crt",
        ),
        Row(
            "error: user a: both client-certificate and client-certificate-data",
            f"{CERTIFICATE}, client-certificate-data: eA==",
        ),
        Row("error: user a: both client-key and client-key-data", f"{CERTIFICATE}, client-key-data: eA=="),
        Row(NOTHING, "", kubectl="asks for a username"),
        Row(NOTHING, "client-key: client.key", kubectl="asks for a username"),
        Row(NOTHING, "password: pw", kubectl="asks for a username"),
        Row(SHOWN, "token: T, unknown: x"),
        Row(SHOWN, "token: T, extensions: [{name: x, extension: {}}]"),
    ),
    "Plug-ins and login providers": (
        Row("`Authorization: Bearer of-plugin`", EXEC),
        Row(SHOWN, f"token: T, {EXEC}"),
        Row("client certificate", f"{CERTIFICATE}, {EXEC}"),
        Row("error: user a: both exec and auth-provider", f"{EXEC}, auth-provider: {{name: oidc}}"),
        Row("error: user a: exec: no command, or no apiVersion", "token: T, exec: {}"),
        Row("error: user a: exec: no interactiveMode", f"exec: {{apiVersion: {API}/v1, command: ./plugin}}"),
        Row(
            "error: exec: ./plugin did not answer in client.authentication.k8s.io/v1beta1",
            f"exec: {{apiVersion: {API}/v1beta1, command: ./plugin}}",
        ),
        Row(
            "error: user a: exec: interactiveMode is none of Never, IfAvailable, Always",
            f"token: T, exec: {{apiVersion: {API}/v1, command: ./plugin, interactiveMode: never}}",
        ),
        Row(
            "error: exec: apiVersion is neither client.authentication.k8s.io/v1 nor v1beta1",
            f"token: T, exec: {{apiVersion: {API}/v1alpha1, command: ./plugin}}",
        ),
        Row("error: user a: exec: a variable of env has no name", f"{EXEC[:-1]}, env: [{{value: x}}]}}"),
        Row("error: user a: exec: a variable of env has no name", f"token: T, {EXEC[:-1]}, env: [null]}}"),
        Row(f"`Authorization: Bearer {JWT}`", f"auth-provider: {{{OIDC}, id-token: {JWT}}}}}"),
        Row(
            "error: auth-provider oidc: the id-token has expired, and khealth does not refresh it; use the exec plug-in"
            " kubelogin, `kubectl oidc-login get-token` instead",
            f"auth-provider: {{{OIDC}, id-token: {EXPIRED}}}}}",
            kubectl="refreshes the token, and writes it to the kubeconfig",
        ),
        Row(SHOWN, f"token: T, auth-provider: {{{OIDC}}}}}"),
        Row(
            "error: auth-provider 'gcp' is not supported; use the exec plug-in gke-gcloud-auth-plugin instead",
            "auth-provider: {name: gcp}",
        ),
        Row(
            "error: auth-provider 'azure' is not supported; use the exec plug-in kubelogin, `kubelogin get-token`"
            " instead",
            "token: T, auth-provider: {name: azure}",
        ),
    ),
    "Impersonation": (
        Row(f"{SHOWN}, `{IMPERSONATE}`", "token: T, as: jane"),
        Row(
            f"{SHOWN}, `{IMPERSONATE}`, `Impersonate-Uid: u`, `Impersonate-Group: g`, `Impersonate-Group: h`",
            "token: T, as: jane, as-uid: u, as-groups: [g, h]",
        ),
        Row(
            f"{SHOWN}, `{IMPERSONATE}`, `Impersonate-Extra-a%2Fb: 1`, `Impersonate-Extra-a%2Fb: 2`",
            "token: T, as: jane, as-user-extra: {a/b: ['1', '2']}",
        ),
        Row("error: user a: as-uid, as-groups or as-user-extra without as", "token: T, as-groups: [g]"),
    ),
    "Servers and trust": (
        Row("`http://127.0.0.1:8001`, no credentials", cluster="server: 'http://127.0.0.1:8001'"),
        Row("`http://127.0.0.1:8001`, no credentials", cluster="server: '127.0.0.1:8001'"),
        Row("`http://127.0.0.1:8001`, no credentials", f"{EXEC}", "server: 'http://127.0.0.1:8001'"),
        Row(f"`http://127.0.0.1:8001`, `{IMPERSONATE}`", "token: T, as: jane", "server: 'http://127.0.0.1:8001'"),
        Row(f"{SHOWN}, own authority", cluster="certificate-authority: ca.crt"),
        Row(f"{SHOWN}, own authority", cluster="server: 'HTTPS://a.example.com', certificate-authority: ca.crt"),
        Row(f"`{SERVER}/k8s`, {SHOWN}", cluster=f"server: '{SERVER}/k8s/?x#y'"),
        Row("`Authorization: Basic bWU6cHc=`", cluster="server: 'https://me:pw@a.example.com'"),
        Row(
            "error: both certificate-authority and certificate-authority-data",
            cluster="certificate-authority: ca.crt, certificate-authority-data: eA==",
        ),
        Row(f"{SHOWN}, server not verified", cluster="insecure-skip-tls-verify: true"),
        Row(
            "error: a certificate authority together with insecure-skip-tls-verify",
            cluster="certificate-authority: ca.crt, insecure-skip-tls-verify: true",
        ),
        Row(f"{SHOWN}, server's name `kubernetes`", cluster="tls-server-name: kubernetes"),
        Row(SHOWN, cluster="disable-compression: true", kubectl="asks for answers without compression"),
        Row(SHOWN, cluster="extensions: [{name: x, extension: {}}]"),
    ),
    "Empty is absent": (
        Row(SHOWN, "token: T, tokenFile: '', username: null, password: '', client-certificate-data: ''"),
        Row("client certificate", f"{CERTIFICATE}, client-certificate-data: '', client-key-data: null"),
        Row("client certificate", f"token: '', {CERTIFICATE}"),
        Row(SHOWN, "token: T, as: '', as-groups: [], as-user-extra: null, exec: null, auth-provider: null"),
        Row(f"{SHOWN}, own authority", cluster="certificate-authority: ca.crt, certificate-authority-data: ''"),
        Row(
            SHOWN,
            cluster="tls-server-name: '', insecure-skip-tls-verify: null, certificate-authority: null",
        ),
        Row(
            f"{SHOWN}, through `http://proxy:3128`", cluster="proxy-url: ''", environment={"HTTPS_PROXY": "proxy:3128"}
        ),
        Row(SHOWN, environment={"HTTPS_PROXY": ""}),
    ),
    "Proxies": (
        Row(
            f"{SHOWN}, through `http://own:3128`",
            cluster="proxy-url: 'http://own:3128'",
            environment={"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "*"},
        ),
        Row(
            "error: proxy-url: not the URL of an HTTP proxy, http://HOST:PORT or https://HOST:PORT",
            cluster="proxy-url: 'own:3128'",
        ),
        Row(
            f"{SHOWN}, through `http://own:3128`, which is shown `Basic bWU6cOKCrA==`",
            cluster="proxy-url: 'http://me:p%E2%82%AC@own:3128'",
        ),
        Row(
            "error: proxy-url: not a URL: its user or password is not percent-encoded",
            cluster="proxy-url: 'http://me:p€@own:3128'",
        ),
        Row(
            f"error: proxy-url: {NO_SOCKS}",
            cluster="proxy-url: 'socks5://own:1080'",
            kubectl="uses the SOCKS proxy",
        ),
        Row(f"{SHOWN}, through `http://proxy:3128`", environment={"HTTPS_PROXY": "http://proxy:3128"}),
        Row(f"{SHOWN}, through `https://proxy`", environment={"https_proxy": "https://proxy"}),
        Row(f"{SHOWN}, through `http://127.0.0.1:7128`", environment={"HTTPS_PROXY": "127.0.0.1:7128"}),
        Row(
            "error: HTTPS_PROXY: not a URL: its user or password is not percent-encoded",
            environment={"HTTPS_PROXY": "http://me:p€@proxy"},
            kubectl="takes `http` for the name of the proxy",
        ),
        Row(
            f"error: HTTPS_PROXY: {NO_SOCKS}",
            environment={"HTTPS_PROXY": "socks5://proxy"},
            kubectl="uses the SOCKS proxy",
        ),
        Row(SHOWN, environment={"HTTP_PROXY": "http://proxy:3128", "ALL_PROXY": "http://proxy:3128"}),
        Row(
            "`http://b.example.com`, no credentials, through `http://proxy:3128`",
            cluster="server: 'http://b.example.com'",
            environment={"HTTP_PROXY": "http://proxy:3128"},
        ),
        Row(SHOWN, environment={"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "example.com"}),
    ),
}
"""The rows of each section of the page."""

NO_PROXY = (
    ("*", "a.example", False),
    ("example", "a.example", False),
    ("example", "example", False),
    ("example", "anexample", True),
    (".example", "a.example", False),
    (".example", "example", True),
    ("*.example", "a.b.example", False),
    ("*.example", "example", True),
    ("*.example", "anexample", True),
    ("a.*", "a.example", True),
    ("example:443", "a.example", False),
    ("example:6443", "a.example", True),
    ("example:6443", "a.example:6443", False),
    ("other, EXAMPLE ,", "a.Example", False),
    ("192.0.2.1", "192.0.2.1:6443", False),
    ("192.0.2.1", "192.0.2.10", True),
    ("192.0.2.1:443", "192.0.2.1:6443", True),
    ("192.0.2.0/24", "192.0.2.200", False),
    ("192.0.2.7/24", "192.0.2.200", False),
    ("192.0.2.0/24", "192.0.3.1", True),
    ("192.0.2", "192.0.2.1", True),
    (".1", "192.0.2.1", True),
    ("2001:db8::1", "[2001:db8::1]", False),
    ("[2001:db8::1]:443", "[2001:db8:0::1]", False),
    ("[2001:db8::1]:80", "[2001:db8::1]", True),
    ("[2001:db8::1]", "[2001:db8::1]", True),
    ("2001:db8::/32", "[2001:db8::1]", False),
    ("::ffff:192.0.2.1", "192.0.2.1", False),
    ("", "localhost:6443", False),
    ("", "127.0.0.1:6443", False),
    ("", "127.9.9.9", False),
    ("", "[::1]:6443", False),
    ("", "localhost.example", True),
    (":443", "a.example", True),
    ("nonsense/8", "a.example", True),
    (".示例.example", "www.示例.example", False),
    ("xn--fsq092h.example", "www.示例.example", False),
)
"""NO_PROXY, the host of a server, and whether the proxy of HTTPS_PROXY is used; most are of Go's own tests."""
