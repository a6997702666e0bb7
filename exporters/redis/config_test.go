package main

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/alfred-agent-platform/backend-exporters/common/app"
	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/suitetest"
)

// TestNames lints names and help texts, but for the names that are redis_exporter's.
func TestNames(t *testing.T) {
	text, err := os.ReadFile("testdata/peer_families.tsv")
	if err != nil {
		t.Fatal(err)
	}
	kept := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		name, _, _ := strings.Cut(line, "\t")
		kept[name] = true
	}
	for _, fields := range [][]infoField{infoTable(), moduleFields, clusterInfoFields, tile38Fields} { // some only on servers that the list is not from
		for _, f := range fields {
			kept["redis_"+f.name] = true
		}
	}
	all, err := catalogue(options{allConfig: true, unknownFields: true, sentinelPeers: true, clientPorts: true})
	if err != nil {
		t.Fatal(err)
	}
	suitetest.Lint(t, all, collect.NewSelf("redis", nil), func(name string) bool {
		return kept[name] || strings.HasPrefix(name, "redis_search_index_") || strings.HasPrefix(name, "redis_script_") || strings.HasPrefix(name, "redis_exporter_last_scrape_")
	})
}

// TestInfoTable holds that each field and each metric of the table is there once, and has a help text and a version.
func TestInfoTable(t *testing.T) {
	fields, names := map[string]bool{}, map[string]bool{}
	for _, f := range slices.Concat(infoTable(), moduleFields, tile38Fields) {
		if fields[f.field] || names[f.name] || f.since == "" || !strings.HasSuffix(f.help, ".") {
			t.Errorf("%+v is there twice, or without version or help", f)
		}
		fields[f.field], names[f.name] = true, true
	}
}

func TestAddresses(t *testing.T) {
	for text, want := range map[string]string{
		"localhost":                             "tcp localhost:6379 0 false",
		"10.0.0.1:7000":                         "tcp 10.0.0.1:7000 0 false",
		"redis://h":                             "tcp h:6379 0 false",
		"redis://h:1/3":                         "tcp h:1 3 false",
		"valkeys://u:p%40@h:1":                  "tcp h:1 0 true u p@",
		"rediss://:p@[::1]:7":                   "tcp [::1]:7 0 true  p",
		"unix:///run/r.sock":                    "unix /run/r.sock 0 false",
		"unix:///run/r.sock?db=2":               "unix /run/r.sock 2 false",
		"redis://h:1?db=4":                      "tcp h:1 4 false",
		"http://h":                              "error",
		"redis://h:0":                           "error",
		"redis://h:99999":                       "error",
		"redis://h/x":                           "error",
		"redis://h/-1":                          "error",
		"unix://":                               "error",
		"redis://u:secret%zz@h":                 "error",
		"redis-sentinel://a,[::1]:7,c:1/2#main": "tcp a:26379,[::1]:7,c:1 2 false   main",
		"rediss-sentinel://u:p%40@a#m%23?sentinel_password=x":                    "tcp a:26379 0 true u p@ m#?sentinel_password=x",
		"redis-sentinel://u:p@a/3?sentinel_user=s&sentinel_password=q%26&db=4#m": "tcp a:26379 4 false u p m s q&",
		"redis-sentinel://a":               "error",
		"redis-sentinel://a:0#m":           "error",
		"redis-sentinel://a,b%zz:1#m":      "error",
		"redis-sentinel://u:secret%zz@h#m": "error",
		"redis-sentinel://" + strings.Repeat("secret,", maxSentinels) + "secret#m": "error",
	} {
		s, err := parseAddress(text)
		got := "error"
		if err == nil {
			got = strings.TrimRight(fmt.Sprintf("%s %s %d %v %s %s %s %s %s", s.network, s.address, s.database, s.tls != nil, s.user, s.password, s.found.name, s.found.user, s.found.password), " ")
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error quotes it: %v", text, err)
		}
		if got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

func TestKeyLists(t *testing.T) {
	for text, want := range map[string]string{
		"":                    "[]",
		"a":                   "[{0 a}]",
		"db3=a,b , db1=c%3Dd": "[{3 a} {0 b} {1 c=d}]",
		"2=user:*,,db0=":      "[{2 user:*}]",
		"a%2Cb":               "[{0 a,b}]",
		"dbx=a":               "error",
		"db-1=a":              "error",
		"a=b=c":               "error",
		"%zz":                 "error",
	} {
		keys, err := parseKeys(text)
		got := fmt.Sprint(keys)
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
	keys, patterns := splitPatterns([]keyRef{{0, "a"}, {0, "a*"}, {0, "a?"}, {1, "[ab]"}, {1, "b"}})
	if fmt.Sprint(keys, patterns) != "[{0 a} {1 b}] [{0 a*} {0 a?} {1 [ab]}]" {
		t.Error(keys, patterns)
	}
}

// TestPeerArguments holds how redis_exporter's arguments are read.
func TestPeerArguments(t *testing.T) {
	t.Setenv("REDIS_EXPORTER_LOG_LEVEL", "")
	for given, want := range map[string]string{
		"-redis.addr redis://h":              "--redis.addr=redis://h",
		"--redis.addr=redis://h scrape":      "--redis.addr=redis://h scrape",
		"-is-cluster":                        "--is-cluster",
		"-is-cluster=true":                   "--is-cluster",
		"--redact-config-metrics=false":      "--no-redact-config-metrics",
		"-debug":                             "--log.level=debug",
		"-debug=false":                       "",
		"-log-level WARNING -log-format txt": "--log.level=warn --log.format=logfmt",
		"--log-format=json":                  "--log.format=json",
		"-version":                           "--version",
		"-h":                                 "-h",
		"--check-keys=db0=a -- -x":           "--check-keys=db0=a -- -x",
		"-script -":                          "--script=-",
		"-redis.password -@secret -debug":    "--log.level=debug --redis.password=-@secret",
		"-debug -log-level=ERROR":            "--log.level=debug",
		"-log-level chatty --log.format=json -log-format=txt": "--log.level=info --log.format=json",
		"-log-level=WARN -log-level=ERROR":                    "--log.level=error",
		"--is-cluster=F -is-cluster=1":                        "--is-cluster",
		"-is-cluster -is-cluster=FALSE":                       "--no-is-cluster",
		"-script=a -redis.user u -script b":                   "--redis.user=u --script=b",
		"--key-sample.pattern=a --key-sample.pattern=b":       "--key-sample.pattern=a --key-sample.pattern=b",
		"-is-cluster=perhaps":                                 "--is-cluster=perhaps",
		"-script":                                             "--script",
	} {
		if got := strings.Join(peerArguments(strings.Fields(given)), " "); got != want {
			t.Errorf("%s becomes %s, want %s", given, got, want)
		}
	}
	t.Setenv("REDIS_EXPORTER_LOG_LEVEL", "ERROR")
	t.Setenv("REDIS_EXPORTER_LOG_FORMAT", "json")
	if got := strings.Join(peerArguments([]string{"-is-cluster"}), " "); got != "--log.level=error --log.format=json --is-cluster" {
		t.Error(got)
	}
}

// loaded reads flags and loads the configuration that they lead to.
func loaded(t *testing.T, args ...string) (*app.Setup, error) {
	t.Helper()
	b := &backend{}
	a := kingpin.New("test", "").Terminate(nil)
	b.Flags(a)
	if _, err := a.Parse(args); err != nil {
		t.Fatal(err)
	}
	return b.Load(func(name string) bool {
		return !slices.Contains([]string{"client_list", "modules", "search_indexes", "rdb_file", "sentinel_config", "tile38"}, name)
	}, 10*time.Second)
}

func written(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestLoad holds what comes of flags and files.
func TestLoad(t *testing.T) {
	file := written(t, "c.yml", `
targets:
- {uri: "redis://a:1/2", user: u, password: {file: /nowhere/password}, renamed_commands: {config: hidden}}
- {service: cache, uri: "rediss://b", cluster: true, health: {write: true}}
`)
	if _, err := loaded(t, "--config.file="+file); err == nil || !strings.Contains(err.Error(), "/nowhere/password") {
		t.Errorf("a secret that is not there: %v", err)
	}
	file = written(t, "c.yml", `
targets:
- {uri: "redis://a:1/2", user: u, password: secret, renamed_commands: {config: hidden}}
- {service: cache, uri: "rediss://b", cluster: true, health: {write: true}}
`)
	setup, err := loaded(t, "--config.file="+file, "--export-client-list", "--append-instance-role-label")
	if err != nil {
		t.Fatal(err)
	}
	if len(setup.Targets) != 2 || setup.Targets[0].Service != "a:1/2" || setup.Targets[1].Service != "cache" || setup.Probe != nil {
		t.Errorf("%+v", setup.Targets)
	}
	first, second := setup.Targets[0], setup.Targets[1]
	d := first.Driver.(*driver)
	s, err := d.settings()
	if err != nil || s.user != "u" || s.password != "secret" || s.database != 2 || s.clientName != "redis_exporter" || d.renamed["CONFIG"] != "hidden" || len(d.Probes()) != 2 {
		t.Errorf("%+v %+v %v", s, d, err)
	}
	if other := second.Driver.(*driver); !other.follow || len(other.Probes()) != 3 {
		t.Errorf("%+v", other)
	}
	names := []string{}
	for _, c := range first.Collectors {
		names = append(names, c.Name)
	}
	if !slices.Contains(names, "client_list") || slices.Contains(names, "check_keys") || slices.Contains(names, "modules") || first.Identified == nil {
		t.Errorf("%v", names)
	}
}

// TestLoadRefuses holds what the configuration may not say, and that the error says what to do and no secret.
func TestLoadRefuses(t *testing.T) {
	for want, args := range map[string][]string{
		"--check-keys: ":                       {"--check-keys=dbx=a"},
		"--check-search-indexes: ":             {"--check-search-indexes=("},
		"--script: open /nowhere":              {"--script=/nowhere"},
		"--check-keys-batch-size must":         {"--check-keys-batch-size=0"},
		"the address must begin with":          {"--redis.addr=http://canary@h"},
		"must be JSON":                         {"--redis.password-file=" + written(t, "p.json", `{"redis://h": canary}`)},
		"an address in":                        {"--redis.password-file=" + written(t, "p.json", `{"ftp://h": "canary"}`)},
		"a client's certificate needs its key": {"--redis.addr=rediss://h", "--tls-client-cert-file=/x"},
		"the file of the CA's certificate":     {"--redis.addr=rediss://h", "--tls-ca-cert-file=/nowhere"},
		"ttl must be between":                  {"--health.write", "--health.ttl=1ms"},
		`unknown key "nonsense"`:               {"--config.file=" + written(t, "c.yml", "nonsense: 1\n")},
	} {
		_, err := loaded(t, args...)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%v: %v, want %s", args, err, want)
		}
	}
}

// TestProbe holds which targets /probe and /scrape may reach, and with which password.
func TestProbe(t *testing.T) {
	passwords := written(t, "p.json", `{"redis://a:1": "of a", "redis://u@a:1": "of u", "rediss://b": "of b", "redis://open": ""}`)
	modules := written(t, "c.yml", `{auth_modules: {fleet: {userpass: {username: f, password: of fleet}, targets: ["*.fleet:6379", "plain"]}}}`)
	for name, test := range map[string]struct {
		args  []string
		query string
		want  string // user and password, or the error
	}{
		"password file":            {[]string{"--redis.password-file=" + passwords}, "target=a:1", " of a"},
		"its user":                 {[]string{"--redis.password-file=" + passwords}, "target=redis://u@a:1", "u of u"},
		"another user":             {[]string{"--redis.password-file=" + passwords}, "target=redis://x@a:1", "not allowed"},
		"another port":             {[]string{"--redis.password-file=" + passwords}, "target=a:2", "not allowed"},
		"a password for TLS":       {[]string{"--redis.password-file=" + passwords}, "target=redis://b", "not allowed"},
		"with TLS":                 {[]string{"--redis.password-file=" + passwords}, "target=rediss://b", " of b"},
		"without password":         {[]string{"--redis.password-file=" + passwords}, "target=redis://open", " "},
		"no target":                {[]string{"--redis.password-file=" + passwords}, "", "target must be given"},
		"a password in the target": {[]string{"--redis.password-file=" + passwords}, "target=redis://u:p@a:1", "without a password"},
		"a socket":                 {[]string{"--redis.password-file=" + passwords}, "target=unix:///run/r.sock", "without a password"},
		"keys":                     {[]string{"--redis.password-file=" + passwords}, "target=a:1&check-keys=x", "--scrape-keys"},
		"keys that are allowed":    {[]string{"--redis.password-file=" + passwords, "--scrape-keys"}, "target=a:1&check-single-keys=x", " of a"},
		"module":                   {[]string{"--config.file=" + modules}, "target=a.fleet&auth_module=fleet", "f of fleet"},
		"module, other target":     {[]string{"--config.file=" + modules}, "target=evil&auth_module=fleet", "not allowed"},
		"no module":                {[]string{"--config.file=" + modules}, "target=a.fleet", "auth_module must name"},
		"closed":                   {nil, "", "closed"},
		"switched off":             {[]string{"--config.file=" + modules, "--disable-scrape-endpoint"}, "", "closed"},
	} {
		setup, err := loaded(t, append([]string{"--redis.password=of the flag"}, test.args...)...)
		if strings.Contains(name, "password file") || strings.Contains(fmt.Sprint(test.args), "password-file") {
			setup, err = loaded(t, test.args...)
		}
		if err != nil {
			t.Fatal(err)
		}
		got := "closed"
		if setup.Probe != nil {
			query, _ := url.ParseQuery(test.query)
			named, err := setup.Probe(query)
			var target collect.Spec
			if err == nil {
				target, err = named.Describe()
			}
			if err != nil {
				got = err.Error()
				if errors.Is(err, app.ErrNotAllowed) {
					got = "not allowed"
				}
			} else {
				d := target.Driver.(*driver)
				s, _ := d.settings()
				got = s.user + " " + s.password
				if d.guard == nil {
					t.Errorf("%s: nothing guards the addresses", name)
				}
			}
		}
		if !strings.Contains(got, test.want) {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}

func TestClusterAddresses(t *testing.T) {
	text := "id1 127.0.0.1:7000@17000,one.example myself,master - 0 0 1 connected 0-5460\n" +
		"id2 ::1:7001@17001,,tls-port=0,shard-id=x master - 0 0 2 connected\nid3 :0@0 noaddr\n\nid4\n"
	if got := clusterAddresses(text, false); !slices.Equal(got, []string{"127.0.0.1:7000", "[::1]:7001"}) {
		t.Error(got)
	}
	if got := clusterAddresses(text, true); !slices.Equal(got, []string{"one.example:7000", "[::1]:7001"}) {
		t.Error(got)
	}
}
