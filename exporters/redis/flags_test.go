package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kingpin/v2"
)

// peerFlagRow is a flag of redis_exporter as the list has it.
type peerFlagRow struct{ name, kind, env, usual string }

func peerFlags(t *testing.T) []peerFlagRow {
	t.Helper()
	text, err := os.ReadFile("testdata/peer_flags.tsv")
	if err != nil {
		t.Fatal(err)
	}
	var all []peerFlagRow
	for line := range strings.Lines(string(text)) {
		f := strings.Split(strings.TrimRight(line, "\n"), "\t")
		if f[0] != "flag" {
			all = append(all, peerFlagRow{f[0], f[1], f[2], f[3]})
		}
	}
	if len(all) != 59 {
		t.Fatalf("%d flags", len(all))
	}
	return all
}

// certified writes a certificate and its key and gives their files.
func certified(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"exporter.example.com"}}
	signed, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return written(t, "cert.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: signed}))),
		written(t, "key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded})))
}

// anExample is a bcrypt hash of the words "an example".
const anExample = "$2a$10$ds.W63Tb.F8ZHJqGQxGmu.79F78hDm3MHhH.q/DzTYOO5jw/QJPDe"

// TestPeerFlags holds that every flag of redis_exporter is taken in each way to give it, and by its variable.
func TestPeerFlags(t *testing.T) {
	cert, key := certified(t)
	values := map[string]string{ // where the usual value says too little
		"redis.addr": "rediss://cache.example.com:6379", "redis.password-file": written(t, "p.json", `{"redis://h": "secret"}`),
		"namespace": "cache", "script": written(t, "a.lua", "return {}"), "check-key-groups": "^(.*)$", "config-command": "-",
		"tls-client-cert-file": cert, "tls-client-key-file": key, "tls-ca-cert-file": cert, "tls-server-name": "cache",
		"tls-server-cert-file": cert, "tls-server-key-file": key, "tls-server-ca-cert-file": cert, "tls-server-min-version": "TLS1.3",
		"basic-auth-username": "u", "basic-auth-password": "-p", "basic-auth-hash-password": anExample,
	}
	with := map[string][]string{ // what has to stand beside it
		"tls-client-cert-file": {"-tls-client-key-file=" + key}, "tls-client-key-file": {"-tls-client-cert-file=" + cert},
		"tls-server-cert-file": {"-tls-server-key-file=" + key}, "tls-server-key-file": {"-tls-server-cert-file=" + cert},
		"tls-server-ca-cert-file": {"-tls-server-key-file=" + key, "-tls-server-cert-file", cert},
		"basic-auth-username":     {"-basic-auth-password=p"}, "basic-auth-password": {"-basic-auth-username=u"},
		"basic-auth-hash-password": {"-basic-auth-username=u"},
	}
	for _, f := range peerFlags(t) {
		value := values[f.name]
		if value == "" {
			value = f.usual
		}
		if value == "" {
			value = "example"
		}
		ways := [][]string{{"-" + f.name + "=" + value}, {"--" + f.name, value}}
		if f.kind == "Bool" {
			ways = [][]string{{"-" + f.name}, {"--" + f.name + "=" + value}, {"--" + f.name + "=t"}}
		}
		if f.name != "version" {
			ways = append(ways, nil) // by its variable
		}
		for _, way := range ways {
			t.Run(f.name+" "+strings.Join(way, " "), func(t *testing.T) {
				if way == nil {
					t.Setenv(f.env, value)
				}
				var out bytes.Buffer
				args := append(append(way, with[f.name]...), "check-config")
				if code := exporter().Run(peerArguments(args), &out, &out); code != 0 {
					t.Errorf("code %d: %s", code, out.String())
				}
			})
		}
	}
}

// A variable that cannot be read is named, and its value is not.
func TestEnvironment(t *testing.T) {
	if err := checkEnvironment(); err != nil {
		t.Error(err)
	}
	for variable, want := range map[string]string{
		"REDIS_EXPORTER_DISABLE_SCRAPE_ENDPOINT": "REDIS_EXPORTER_DISABLE_SCRAPE_ENDPOINT must be true or false",
		"REDIS_EXPORTER_CHECK_KEYS_BATCH_SIZE":   "REDIS_EXPORTER_CHECK_KEYS_BATCH_SIZE is not what --check-keys-batch-size can be",
		"REDIS_EXPORTER_CONNECTION_TIMEOUT":      "REDIS_EXPORTER_CONNECTION_TIMEOUT is not what --connection-timeout can be",
	} {
		t.Run(variable, func(t *testing.T) {
			t.Setenv(variable, "canary")
			if err := checkEnvironment(); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "canary") {
				t.Errorf("%v, want %s", err, want)
			}
		})
	}
}

// TestPeerDefaults holds that a flag of redis_exporter that is not given means the same, and has the same variable, but
// for one port for all exporters of the suite.
func TestPeerDefaults(t *testing.T) {
	a := kingpin.New("test", "")
	(&backend{}).Flags(a)
	ours := map[string]*kingpin.FlagModel{}
	for _, f := range a.Model().Flags {
		ours[f.Name] = f
	}
	elsewhere := "web.listen-address web.telemetry-path version debug log-level log-format" // of the suite, or see peerArguments
	for _, f := range peerFlags(t) {
		own := ours[f.name]
		switch {
		case strings.Contains(elsewhere, f.name):
		case own == nil:
			t.Errorf("%s is missing", f.name)
		case own.Envar != f.env || own.IsBoolFlag() != (f.kind == "Bool"):
			t.Errorf("%s: variable %s, yes or no %v", f.name, own.Envar, own.IsBoolFlag())
		case strings.Join(own.Default, "") != f.usual && (f.usual != "false" || own.Default != nil):
			t.Errorf("%s: %q where it is not given, want %q", f.name, own.Default, f.usual)
		}
	}
}

// TestPagesRefused holds which flags for the exporter's own pages do not go together, and that no password shows.
func TestPagesRefused(t *testing.T) {
	cert, key := certified(t)
	web := written(t, "web.yml", "{}")
	for want, args := range map[string][]string{
		"cannot go together":                  {"--basic-auth-username=u", "--basic-auth-password=canary", "--basic-auth-hash-password=" + anExample},
		"--basic-auth-username needs":         {"--basic-auth-password=canary"},
		"and the other way round":             {"--basic-auth-username=canary"},
		"not one of bcrypt":                   {"--basic-auth-username=u", "--basic-auth-hash-password=canary"},
		"--tls-server-cert-file needs":        {"--tls-server-key-file=" + key},
		"needs --tls-server-key-file":         {"--tls-server-cert-file=" + cert},
		"--tls-server-ca-cert-file needs":     {"--tls-server-ca-cert-file=" + cert},
		"--tls-server-min-version must":       {"--tls-server-cert-file=" + cert, "--tls-server-key-file=" + key, "--tls-server-min-version=SSL3"},
		"failed to read cert_file (/nowhere)": {"--tls-server-cert-file=/nowhere", "--tls-server-key-file=" + key},
		"TLS of the exporter's pages":         {"--tls-server-cert-file=" + cert, "--tls-server-key-file=" + cert},
		"holds no certificate":                {"--tls-server-cert-file=" + cert, "--tls-server-key-file=" + key, "--tls-server-ca-cert-file=" + key},
		"/nowhere: no such file":              {"--tls-server-cert-file=" + cert, "--tls-server-key-file=" + key, "--tls-server-ca-cert-file=/nowhere"},
		"not by both":                         {"--basic-auth-username=u", "--basic-auth-password=canary", "--web.config.file=" + web},
		"--web.systemd-socket":                {"--tls-server-cert-file=" + cert, "--tls-server-key-file=" + key, "--web.systemd-socket"},
	} {
		for _, command := range []string{"check-config", "serve"} {
			var out bytes.Buffer
			code := exporter().Run(append([]string{command}, args...), &out, &out)
			if code == 0 || !strings.Contains(out.String(), want) || strings.Contains(out.String(), "canary") || strings.Count(out.String(), "\n") != 1 {
				t.Errorf("%s %v: code %d, %q, want %s", command, args, code, out.String(), want)
			}
		}
	}
}

// A password on the command line is warned of; one in the environment is where it belongs.
func TestPasswordOnTheCommandLine(t *testing.T) {
	for _, flag := range []string{"basic-auth-password", "redis.password"} {
		env := "REDIS_PASSWORD"
		if flag != "redis.password" {
			env = "REDIS_EXPORTER_BASIC_AUTH_PASSWORD"
		}
		for _, given := range []bool{true, false} {
			t.Run(flag, func(t *testing.T) {
				args := []string{"--basic-auth-username=u", "check-config"}
				t.Setenv("REDIS_EXPORTER_BASIC_AUTH_PASSWORD", "canary")
				if given {
					args = append([]string{"--" + flag + "=canary"}, args...)
				} else {
					t.Setenv(env, "canary")
				}
				var out bytes.Buffer
				code := exporter().Run(args, &out, &out)
				warned := strings.Contains(out.String(), "--"+flag+" is seen by every user") && strings.Contains(out.String(), env)
				if code != 0 || warned != given || strings.Contains(out.String(), "canary") {
					t.Errorf("given %v: code %d, %s", given, code, out.String())
				}
			})
		}
	}
}
