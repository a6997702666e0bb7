package kubernetes

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/relabel"
	"go.yaml.in/yaml/v3"

	"github.com/alfred-agent-platform/backend-exporters/e2e/harness"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

func relabelConfig(t *testing.T, written map[string]any) *relabel.Config {
	t.Helper()
	text, err := yaml.Marshal(written)
	if err != nil {
		t.Fatal(err)
	}
	var config relabel.Config
	if err := yaml.Unmarshal(text, &config); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return &config
}

func portOf(t *testing.T, o object) string {
	t.Helper()
	return strconv.Itoa(spec[service](t, o).Ports[0].Port)
}

// pod is what runs of a Deployment: the program, with the files that the cluster would mount in a folder of the test.
type pod struct {
	program   string
	args, env []string
	deployment
}

// lay makes a pod's files and gives what to run. What a Secret would hold is made up, or taken from files.
func lay(t *testing.T, objects []object, o object, files map[string]string) pod {
	t.Helper()
	p := pod{program: o.Metadata.Labels["app.kubernetes.io/component"] + "-exporter", deployment: spec[deployment](t, o)}
	folder := t.TempDir()
	inFolder := strings.NewReplacer("/etc/exporter/", folder+"/etc/exporter/", "/run/secrets/exporter/", folder+"/run/secrets/exporter/")
	put := func(path, text string) {
		whole := filepath.Join(folder, path)
		if err := os.MkdirAll(filepath.Dir(whole), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(whole, []byte(inFolder.Replace(text)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := p.Template.Spec.Containers[0]
	said := strings.Join(c.Args, "\n")
	for _, v := range c.Env {
		p.env = append(p.env, v.Name+"="+inFolder.Replace(v.Value))
		said += "\n" + v.Value
	}
	for _, v := range p.Template.Spec.Volumes {
		if v.Name == "config" {
			text := named(t, objects, "ConfigMap", v.ConfigMap.Name).Data["exporter.yml"]
			put("/etc/exporter/config/exporter.yml", text)
			said += "\n" + text
		}
	}
	for _, match := range regexp.MustCompile(`/run/secrets/exporter/([\w.-]+)`).FindAllStringSubmatch(said, -1) {
		put(match[0], madeUp(match[1]))
	}
	for path, text := range files {
		put(path, text)
	}
	for _, argument := range c.Args {
		if argument != "--web.listen-address=:9091" { // a test listens elsewhere
			p.args = append(p.args, inFolder.Replace(argument))
		}
	}
	if len(p.args) == len(c.Args) {
		t.Errorf("%s does not listen on the port that its container names: %q", o.is(), c.Args)
	}
	return p
}

func madeUp(key string) string {
	if strings.HasSuffix(key, ".json") {
		return `{"redis://cache.example:6379": "canary"}`
	}
	return "canary"
}

func named(t *testing.T, objects []object, kind, name string) object {
	t.Helper()
	for _, o := range objects {
		if o.Kind == kind && o.Metadata.Name == name {
			return o
		}
	}
	t.Fatalf("no %s %s", kind, name)
	return object{}
}

// checkConfig is what the program's own check says.
func (p pod) checkConfig(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	command := exec.CommandContext(ctx, harness.Binary(t, p.program), append(slices.Clone(p.args), "check-config")...)
	command.Env, command.Dir = p.env, t.TempDir()
	if output, err := command.CombinedOutput(); err != nil || strings.Contains(string(output), "canary") {
		t.Errorf("%s does not take what its pod is told: %v\n%s", p.program, err, output)
	}
}

// asKubelet asks an exporter as kubelet asks a pod: without verifying a certificate, and without credentials.
func asKubelet(t *testing.T, e *harness.Exporter, c check) {
	t.Helper()
	address := strings.TrimPrefix(e.URL, "http://")
	if c.TCPSocket != nil {
		connection, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(t.Context(), "tcp", address)
		if err != nil || c.TCPSocket.Port != "http" {
			t.Fatalf("kubelet cannot connect to port %q: %v", c.TCPSocket.Port, err)
		}
		_ = connection.Close()
		return
	}
	if c.HTTPGet == nil || c.HTTPGet.Port != "http" {
		t.Fatalf("the pod has no check: %+v", c)
	}
	if code := status(t, strings.ToLower(c.HTTPGet.Scheme)+"://"+address+c.HTTPGet.Path); code != http.StatusOK {
		t.Errorf("kubelet asks for %s %s and gets %d", c.HTTPGet.Scheme, c.HTTPGet.Path, code)
	}
}

func status(t *testing.T, url string) int {
	t.Helper()
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}}}
	answer, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	return answer.StatusCode
}

// programsTakeWhatPodsAreTold runs each pod's program with the arguments, the environment and the files of the pod. No
// backend is there: the checks of the pod must not mind.
func programsTakeWhatPodsAreTold(t *testing.T, r rendering) {
	web := map[string]string{}
	if r.name == "tls" {
		web = webFiles(t)
	}
	for _, o := range of(r.objects, "Deployment") {
		files := map[string]string{}
		for path, text := range web {
			files[path] = text
		}
		withPassword := spec[deployment](t, o).Template.Spec.Containers[0].LivenessProbe.TCPSocket != nil
		if withPassword {
			files["/etc/exporter/web/web-config.yml"] += "basic_auth_users: {prometheus: " + passwordHash + "}\n"
		}
		p := lay(t, r.objects, o, files)
		p.checkConfig(t)
		e := harness.Start(t, p.program, p.env, p.args...)
		asKubelet(t, e, p.Template.Spec.Containers[0].LivenessProbe)
		asKubelet(t, e, p.Template.Spec.Containers[0].ReadinessProbe)
		if withPassword {
			if code := status(t, strings.Replace(e.URL, "http:", "https:", 1)+"/healthz"); code != http.StatusUnauthorized {
				t.Errorf("without the password it answers %d: kubelet could have asked for more than the port", code)
			}
		}
	}
}

// passwordHash is bcrypt's of the word canary.
const passwordHash = "$2a$04$Keri51kJ4Jkp9hp2QuPvx.yuXPjXP.XAIAerNxa2Hn4XIYzY7c/Hu"

// webFiles are those of the Secret for TLS, with the certificate of a server that has one.
func webFiles(t *testing.T) map[string]string {
	t.Helper()
	certificate, key := servers.NewRedis(t, servers.RedisOptions{TLS: true}).Certificate()
	return map[string]string{
		"/etc/exporter/web/web-config.yml": "tls_server_config: {cert_file: tls.crt, key_file: tls.key}\n",
		"/etc/exporter/web/tls.crt":        read(t, certificate),
		"/etc/exporter/web/tls.key":        read(t, key),
	}
}

// TestPlainManifestScrapesRedis edits a manifest as its head says, the address and the password, and scrapes what runs then.
func TestPlainManifestScrapesRedis(t *testing.T) {
	server := servers.NewRedis(t, servers.RedisOptions{Initial: [][]any{
		{"ACL", "SETUSER", "monitor", "on", ">of-the-secret", "~*", "+@all"},
	}})
	text := read(t, filepath.Join(root(t), "deploy/kubernetes/redis.yaml"))
	for old, edited := range map[string]string{"redis://redis.default.svc:6379": "redis://" + server.Addr(), "change-me": "of-the-secret"} {
		if strings.Count(text, old) != 1 {
			t.Fatalf("the manifest holds %q %d times", old, strings.Count(text, old))
		}
		text = strings.Replace(text, old, edited, 1)
	}
	objects := parse(t, text)
	files := map[string]string{}
	for key, value := range of(objects, "Secret")[0].StringData {
		files["/run/secrets/exporter/"+key] = value
	}
	p := lay(t, objects, of(objects, "Deployment")[0], files)
	page := harness.Start(t, p.program, p.env, p.args...).Scrape("10")
	page.Want(t, "redis_up", 1)
	page.Want(t, `service_health{service="redis"}`, 1)
	if strings.Contains(page.Body, "of-the-secret") {
		t.Error("the page holds the password")
	}
}

// TestPlainManifestsNameTheirSecrets holds that what a pod reads of its Secret is there.
func TestPlainManifestsNameTheirSecrets(t *testing.T) {
	for _, name := range []string{"postgres", "redis", "vector-db", "smtp"} {
		text := read(t, filepath.Join(root(t), "deploy/kubernetes", name+".yaml"))
		objects := parse(t, text)
		secret := of(objects, "Secret")[0]
		var mounted []string
		for _, v := range spec[deployment](t, of(objects, "Deployment")[0]).Template.Spec.Volumes {
			if v.Secret != nil {
				mounted = append(mounted, v.Secret.SecretName)
			}
		}
		if fmt.Sprint(mounted) != fmt.Sprintf("[%s]", secret.Metadata.Name) {
			t.Errorf("%s: the pod mounts %q, the Secret is %s", name, mounted, secret.Metadata.Name)
		}
		keys := regexp.MustCompile(`/run/secrets/exporter/([\w.-]+)`).FindAllStringSubmatch(text, -1)
		for _, key := range keys {
			if secret.StringData[key[1]] == "" {
				t.Errorf("%s: the Secret has no key %s", name, key[1])
			}
		}
		if len(keys) != len(secret.StringData) {
			t.Errorf("%s: the Secret has %d keys, the pod reads %d", name, len(secret.StringData), len(keys))
		}
	}
}
