// Package cluster is an API server of Kubernetes with its store: a real one, which takes objects, fills in, refuses and
// keeps them. There is no kubelet and no controller, so that nothing runs of what they describe.
package cluster

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/e2e/harness"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// startLimit bounds how long the server may take to answer.
const startLimit = 90 * time.Second

// Cluster is a running API server.
type Cluster struct {
	Kubeconfig string // the file that kubectl and helm read
	kubectl    string
}

// Start starts an API server that knows Prometheus Operator's kinds, too, and ends it with the test.
func Start(t testing.TB) *Cluster {
	t.Helper()
	root, err := servers.RepositoryRoot()
	must(t, err)
	dir := t.TempDir()
	ports := make([]int, 3)
	for i := range ports {
		ports[i], err = servers.FreePort()
		must(t, err)
	}
	client, peer := fmt.Sprintf("http://127.0.0.1:%d", ports[0]), fmt.Sprintf("http://127.0.0.1:%d", ports[1])
	start(t, filepath.Join(root, ".cache", "tools", "etcd"), "--data-dir="+dir+"/etcd", "--unsafe-no-fsync",
		"--listen-client-urls="+client, "--advertise-client-urls="+client, "--listen-peer-urls="+peer,
		"--initial-advertise-peer-urls="+peer, "--initial-cluster=default="+peer)
	token := rand.Text()
	must(t, os.WriteFile(dir+"/tokens", []byte(token+",administrator,1,system:masters\n"), 0o600))
	writeKey(t, dir+"/key.pem")
	address := fmt.Sprintf("https://127.0.0.1:%d", ports[2])
	start(t, filepath.Join(root, ".cache", "tools", "kube-apiserver"), "--etcd-servers="+client,
		"--bind-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", ports[2]), "--cert-dir="+dir+"/certificates",
		// Nobody comes by the address; it has to be one that is not of the loopback interface.
		"--advertise-address=192.0.2.1", "--endpoint-reconciler-type=none", "--service-cluster-ip-range=10.0.0.0/24",
		"--service-account-issuer=https://kubernetes.example.com", "--service-account-key-file="+dir+"/key.pem",
		"--service-account-signing-key-file="+dir+"/key.pem", "--token-auth-file="+dir+"/tokens", "--authorization-mode=RBAC")
	c := &Cluster{Kubeconfig: dir + "/config", kubectl: filepath.Join(root, ".cache", "tools", "kubectl")}
	must(t, os.WriteFile(c.Kubeconfig, config(t, address, token), 0o600))
	harness.Eventually(t, startLimit, "the API server is ready", func() error {
		out, err := c.Try("", "get", "--raw", "/readyz")
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
	c.define(t, filepath.Join(root, ".cache", "kubernetes"))
	return c
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%v (tools/ensure.sh kubernetes brings what is needed)", err)
	}
}

// start starts a program and ends it with the test.
func start(t testing.TB, path string, args ...string) {
	t.Helper()
	p, err := servers.StartProcess(servers.ProcessOptions{Path: path, Args: args})
	must(t, err)
	t.Cleanup(func() { _ = p.Stop() })
}

// writeKey makes the key that tokens of service accounts would be signed with.
func writeKey(t testing.TB, file string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	text := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	must(t, os.WriteFile(file, text, 0o600))
}

// config is what kubectl reads, JSON being YAML. The server has made its certificate itself.
func config(t testing.TB, address, token string) []byte {
	t.Helper()
	type object = map[string]any
	text, err := json.Marshal(object{
		"apiVersion": "v1", "kind": "Config", "current-context": "test",
		"clusters": []object{{"name": "test", "cluster": object{"server": address, "insecure-skip-tls-verify": true}}},
		"users":    []object{{"name": "test", "user": object{"token": token}}},
		"contexts": []object{{"name": "test", "context": object{"cluster": "test", "user": "test"}}},
	})
	must(t, err)
	return text
}

// define makes Prometheus Operator's kinds known.
func (c *Cluster) define(t testing.TB, folder string) {
	t.Helper()
	c.Run(t, "", "create", "--filename="+folder)
	c.Run(t, "", "wait", "--for=condition=Established", "--timeout=30s", "customresourcedefinitions", "--all")
}

// Try runs kubectl with an input and gives what it printed.
func (c *Cluster) Try(input string, arguments ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, c.kubectl, append([]string{"--kubeconfig=" + c.Kubeconfig}, arguments...)...)
	command.Stdin = strings.NewReader(input)
	out, err := command.CombinedOutput()
	return string(out), err
}

// Run is Try for what must succeed.
func (c *Cluster) Run(t testing.TB, input string, arguments ...string) string {
	t.Helper()
	out, err := c.Try(input, arguments...)
	if err != nil {
		t.Fatalf("kubectl %s: %v\n%s", strings.Join(arguments, " "), err, out)
	}
	return out
}
