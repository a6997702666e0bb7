package main

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/alfred-agent-platform/backend-exporters/common/config"
)

const defaultAddress = "redis://localhost:6379"

// flags are those of redis_exporter, with its environment variables, and a few of our own.
type flags struct {
	address, user, password, passwordFile string
	timeout                               time.Duration
	setClientName                         bool
	configCommand                         string
	tls                                   tlsFiles
	cluster, hostnames                    bool

	checkKeys, checkSingleKeys, countKeys, checkKeyGroups string
	checkStreams, checkSingleStreams                      string
	batchSize, maxGroups                                  int
	withoutConsumers, withoutValues, withoutPrimaries     bool

	script         string
	scriptReadOnly bool
	searchIndexes  string

	clientList, clientPorts, allConfig, redactConfig, modules, indexes bool
	sentinelPeers, withoutHistograms, snapshotSize, emptyDatabases     bool
	tile38                                                             bool
	unknownFields, roleLabel                                           bool

	withoutScrape, scrapeKeys bool
	namespace                 string
	passwordShown             bool // the password is on the command line

	pages    pageFlags
	sampling samplingFlags
	write    writeProbe
}

// adder adds flags with their environment variables.
type adder struct{ *kingpin.Application }

func (a adder) flag(name, env, help string) *kingpin.FlagClause {
	return a.Flag(name, help).Envar("REDIS_EXPORTER_" + env)
}

func (f *flags) add(app *kingpin.Application) {
	if listen := app.GetFlag("web.listen-address"); listen != nil {
		listen.Envar("REDIS_EXPORTER_WEB_LISTEN_ADDRESS")
	}
	a := adder{app}
	f.addConnection(a)
	f.addKeys(a)
	f.addCollectors(a)
	f.addForeign(a)
	f.sampling.flags(app)
	f.write.flags(app)
}

func (f *flags) addConnection(a adder) {
	a.Flag("redis.addr", "Server to scrape: redis://, rediss:// (TLS), valkey://, valkeys://, unix:// or redis-sentinel://host,host#name; empty where only /scrape is to be used.").
		Default(defaultAddress).Envar("REDIS_ADDR").StringVar(&f.address)
	a.Flag("redis.user", "User to log in as.").Envar("REDIS_USER").StringVar(&f.user)
	a.Flag("redis.password", "Password. On the command line every user of the host sees it: use the variable REDIS_PASSWORD or a file.").Envar("REDIS_PASSWORD").
		IsSetByUser(&f.passwordShown).StringVar(&f.password)
	a.Flag("redis.password-file", "JSON file of passwords by address, such as {\"redis://user@host:6379\": \"secret\"}. Its addresses are those that /scrape may reach.").
		Envar("REDIS_PASSWORD_FILE").StringVar(&f.passwordFile)
	a.flag("connection-timeout", "CONNECTION_TIMEOUT", "Longest time for connecting.").Default("15s").DurationVar(&f.timeout)
	a.flag("set-client-name", "SET_CLIENT_NAME", "Let the server show the connection as redis_exporter.").Default("true").BoolVar(&f.setClientName)
	a.flag("config-command", "CONFIG_COMMAND", "What the server calls CONFIG; - for a server that must not be asked.").Default("CONFIG").StringVar(&f.configCommand)
	a.flag("tls-client-key-file", "TLS_CLIENT_KEY_FILE", "Key of the certificate that is shown to the server.").StringVar(&f.tls.Key)
	a.flag("tls-client-cert-file", "TLS_CLIENT_CERT_FILE", "Certificate that is shown to the server.").StringVar(&f.tls.Cert)
	a.flag("tls-ca-cert-file", "TLS_CA_CERT_FILE", "Certificate of the CA that the server's must be of.").StringVar(&f.tls.CA)
	a.flag("tls-server-name", "TLS_SERVER_NAME", "Name that the server's certificate must have.").StringVar(&f.tls.ServerName)
	a.flag("skip-tls-verification", "SKIP_TLS_VERIFICATION", "Do not verify the server's certificate.").BoolVar(&f.tls.SkipVerify)
	a.flag("is-cluster", "IS_CLUSTER", "Look for keys and patterns of keys on all nodes of the cluster that the server belongs to.").BoolVar(&f.cluster)
	a.flag("cluster-discover-hostnames", "CLUSTER_DISCOVER_HOSTNAMES", "Give the nodes' host names at /discover-cluster-nodes where they have some.").BoolVar(&f.hostnames)
	a.flag("disable-scrape-endpoint", "DISABLE_SCRAPE_ENDPOINT", "Close /scrape and /probe.").BoolVar(&f.withoutScrape)
	a.flag("scrape-keys", "SCRAPE_KEYS", "Let whoever asks /scrape name keys whose sizes and values are shown: they can read any key.").BoolVar(&f.scrapeKeys)
}

func (f *flags) addKeys(a adder) {
	a.flag("check-keys", "CHECK_KEYS", "Keys and patterns of keys to show with size and value: db0=user:*,db3=key. Patterns are looked for in the background.").StringVar(&f.checkKeys)
	a.flag("check-single-keys", "CHECK_SINGLE_KEYS", "Keys to show with size and value, without patterns.").StringVar(&f.checkSingleKeys)
	a.flag("count-keys", "COUNT_KEYS", "Patterns of keys to count, in the background: db0=production_*,db3=sessions:*.").StringVar(&f.countKeys)
	a.flag("check-key-groups", "CHECK_KEY_GROUPS", "Lua patterns, separated by commas, by whose captures keys are grouped, in the background.").StringVar(&f.checkKeyGroups)
	a.flag("max-distinct-key-groups", "MAX_DISTINCT_KEY_GROUPS", "Groups of keys that are shown of each database; the others together are the group overflow.").Default("100").IntVar(&f.maxGroups)
	a.flag("check-keys-batch-size", "CHECK_KEYS_BATCH_SIZE", "Keys that one step of looking for patterns looks at.").Default("1000").IntVar(&f.batchSize)
	a.flag("check-streams", "CHECK_STREAMS", "Streams and patterns of streams to show with groups and consumers.").StringVar(&f.checkStreams)
	a.flag("check-single-streams", "CHECK_SINGLE_STREAMS", "Streams to show, without patterns.").StringVar(&f.checkSingleStreams)
	a.flag("streams-exclude-consumer-metrics", "STREAMS_EXCLUDE_CONSUMER_METRICS", "Leave the consumers of streams out.").BoolVar(&f.withoutConsumers)
	a.flag("disable-exporting-key-values", "DISABLE_EXPORTING_KEY_VALUES", "Leave the values of keys out.").BoolVar(&f.withoutValues)
	a.flag("skip-checkkeys-for-role-master", "SKIP_CHECKKEYS_FOR_ROLE_MASTER", "Look at keys and streams on replicas alone.").BoolVar(&f.withoutPrimaries)
}

func (f *flags) addCollectors(a adder) {
	a.flag("script", "SCRIPT", "Files of Lua scripts, separated by commas, that give pairs of names and numbers.").StringVar(&f.script)
	a.flag("lua-script-read-only", "LUA_SCRIPT_READ_ONLY", "Run the scripts with EVAL_RO.").BoolVar(&f.scriptReadOnly)
	a.flag("export-client-list", "EXPORT_CLIENT_LIST", "Show each client with series of its own; as --collector.client_list.").BoolVar(&f.clientList)
	a.flag("export-client-port", "EXPORT_CLIENT_PORT", "Show the clients' ports too.").BoolVar(&f.clientPorts)
	a.flag("include-config-metrics", "INCL_CONFIG_METRICS", "Show all settings.").BoolVar(&f.allConfig)
	a.flag("redact-config-metrics", "REDACT_CONFIG_METRICS", "Leave passwords out of the settings.").Default("true").BoolVar(&f.redactConfig)
	a.flag("include-modules-metrics", "INCL_MODULES_METRICS", "Show what modules say of themselves; as --collector.modules.").BoolVar(&f.modules)
	a.flag("include-search-indexes-metrics", "INCL_SEARCH_INDEXES_METRICS", "Show search indexes; as --collector.search_indexes.").BoolVar(&f.indexes)
	a.flag("check-search-indexes", "CHECK_SEARCH_INDEXES", "Regular expression of the search indexes that are shown.").Default(".*").StringVar(&f.searchIndexes)
	a.flag("include-sentinel-peer-info", "INCL_SENTINEL_PEER_INFO", "Show each sentinel that watches a master.").BoolVar(&f.sentinelPeers)
	a.flag("exclude-latency-histogram-metrics", "EXCLUDE_LATENCY_HISTOGRAM_METRICS", "Leave out the histograms of commands.").BoolVar(&f.withoutHistograms)
	a.flag("include-rdb-file-size-metric", "INCL_RDB_FILE_SIZE_METRIC", "Look at the size of the snapshot on this machine; as --collector.rdb_file.").BoolVar(&f.snapshotSize)
	a.flag("include-metrics-for-empty-databases", "INCL_METRICS_FOR_EMPTY_DATABASES", "Show databases without keys.").Default("true").BoolVar(&f.emptyDatabases)
	a.flag("append-instance-role-label", "APPEND_INSTANCE_ROLE_LABEL", "Put the label instance_role on what is collected.").BoolVar(&f.roleLabel)
	a.flag("include-unknown-info", "INCL_UNKNOWN_INFO", "Show numbers in INFO that the exporter does not know.").BoolVar(&f.unknownFields)
}

// addForeign adds flags of redis_exporter that only its users know, some of which need nothing here.
func (f *flags) addForeign(a adder) {
	for _, idle := range []struct{ name, env string }{
		{"ping-on-connect", "PING_ON_CONNECT"}, {"include-system-metrics", "INCL_SYSTEM_METRICS"},
		{"redis-only-metrics", "REDIS_ONLY_METRICS"}, {"include-go-runtime-metrics", "INCLUDE_GO_RUNTIME_METRICS"},
	} {
		a.flag(idle.name, idle.env, "Of redis_exporter; needs nothing here.").Hidden().Bool()
	}
	a.flag("is-tile38", "IS_TILE38", "Show what Tile38 says of itself; as --collector.tile38.").Hidden().BoolVar(&f.tile38)
	a.flag("namespace", "NAMESPACE", "What the names of metrics begin with. Dashboards and alerts are made for redis.").
		Default(namespace).Hidden().StringVar(&f.namespace)
	f.pages.add(a)
}

// check refuses what cannot hold.
func (f *flags) check() error {
	switch {
	case f.batchSize < 1 || f.batchSize > 100_000:
		return errors.New("--check-keys-batch-size must be between 1 and 100000")
	case f.maxGroups < 1:
		return errors.New("--max-distinct-key-groups must be above 0")
	case f.timeout <= 0:
		return errors.New("--connection-timeout must be longer than nothing, such as 5s")
	}
	return nil
}

// warnings says what is unsafe.
func (f *flags) warnings() []string {
	var all []string
	if f.passwordShown {
		all = append(all, "the password of --redis.password is seen by every user of this host: use the variable REDIS_PASSWORD, or --redis.password-file")
	}
	if f.pages.passwordShown {
		all = append(all, "the password of --basic-auth-password is seen by every user of this host: use the variable REDIS_EXPORTER_BASIC_AUTH_PASSWORD, or a hash in the file of --web.config.file")
	}
	if f.passwordFile != "" {
		if warning := config.SecretFile(f.passwordFile).Warning(); warning != "" {
			all = append(all, warning)
		}
	}
	if f.allConfig && !f.redactConfig {
		all = append(all, "passwords of the server's configuration are shown as labels: do not use --no-redact-config-metrics")
	}
	return all
}

// options gives what the flags say of the collectors.
func (f *flags) options() (options, error) {
	o := options{
		namespace:     f.namespace,
		unknownFields: f.unknownFields, emptyDatabases: f.emptyDatabases, allConfig: f.allConfig, redactConfig: f.redactConfig,
		snapshotSize: f.snapshotSize, clientPorts: f.clientPorts, sentinelPeers: f.sentinelPeers,
	}
	var err error
	if o.keys, err = f.keyChecks(); err != nil {
		return o, err
	}
	if o.beyond.sampling, err = f.sampling.sampling(); err != nil {
		return o, err
	}
	if o.beyond.searchIndexes, err = regexp.Compile(f.searchIndexes); err != nil {
		return o, fmt.Errorf("--check-search-indexes: %w", err)
	}
	o.beyond.scripts, err = readScripts(f.script)
	o.beyond.scriptReadOnly = f.scriptReadOnly
	return o, err
}

// keyChecks reads the lists of keys.
func (f *flags) keyChecks() (k keyChecks, err error) {
	var keys, streams []keyRef
	for _, list := range []struct {
		flag, text string
		to         *[]keyRef
	}{
		{"check-keys", f.checkKeys, &keys}, {"check-single-keys", f.checkSingleKeys, &k.keys},
		{"check-streams", f.checkStreams, &streams}, {"check-single-streams", f.checkSingleStreams, &k.streams}, {"count-keys", f.countKeys, &k.counts},
	} {
		if *list.to, err = parseKeys(list.text); err != nil {
			return k, fmt.Errorf("--%s: %w", list.flag, err)
		}
	}
	single, patterns := splitPatterns(keys)
	k.keys, k.keyPatterns = append(k.keys, single...), patterns
	single, patterns = splitPatterns(streams)
	k.streams, k.streamPatterns = append(k.streams, single...), patterns
	k.batch, k.maxGroups = f.batchSize, f.maxGroups
	k.values, k.consumers, k.replicasOnly = !f.withoutValues, !f.withoutConsumers, f.withoutPrimaries
	if f.checkKeyGroups != "" {
		groups, err := csv.NewReader(strings.NewReader(f.checkKeyGroups)).Read()
		if err != nil {
			return k, errors.New("--check-key-groups must be a list of patterns separated by commas, those with a comma in quotes")
		}
		for _, group := range groups {
			if group = strings.TrimSpace(group); group != "" {
				k.groups = append(k.groups, group)
			}
		}
	}
	return k, nil
}

// readScripts reads the files of a list. Each is known by its name as given.
func readScripts(list string) ([]script, error) {
	var scripts []script
	for name := range strings.SplitSeq(list, ",") {
		if name == "" {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("--script: %w", err)
		}
		scripts = append(scripts, script{name: name, text: string(text)})
	}
	return scripts, nil
}

// enabled switches collectors on and off by the flags of redis_exporter, beside those of their names.
func (f *flags) enabled(byName func(string) bool) func(string) bool {
	return func(name string) bool {
		switch name {
		case "client_list":
			return byName(name) || f.clientList
		case "tile38":
			return byName(name) || f.tile38
		case "modules":
			return byName(name) || f.modules
		case "search_indexes":
			return byName(name) || f.indexes
		case "rdb_file":
			return byName(name) || f.snapshotSize
		case "sentinel_config":
			return byName(name) || f.allConfig
		case "latency_histograms", "command_latency":
			return byName(name) && !f.withoutHistograms
		}
		return byName(name)
	}
}

// idle tells whether a collector has nothing to do as the flags are.
func (o options) idle(name string) bool {
	switch name {
	case "check_keys":
		return len(o.keys.keys) == 0
	case "check_key_patterns":
		return len(o.keys.keyPatterns) == 0
	case "check_streams", "stream_pending":
		return len(o.keys.streams) == 0
	case "check_stream_patterns":
		return len(o.keys.streamPatterns) == 0
	case "count_keys":
		return len(o.keys.counts) == 0
	case "key_groups":
		return len(o.keys.groups) == 0
	case "scripts":
		return len(o.beyond.scripts) == 0
	}
	return false
}

// passwordFile is a file of passwords by address.
type passwordFile struct {
	path string
	of   map[string]string
}

// passwords reads the password file, which holds where no password is given otherwise.
func (f *flags) passwords() (passwordFile, error) {
	p := passwordFile{path: f.passwordFile}
	if f.passwordFile == "" || f.password != "" {
		return passwordFile{}, nil
	}
	text, err := os.ReadFile(f.passwordFile)
	if err != nil {
		return p, fmt.Errorf("--redis.password-file: %w", err)
	}
	if err := json.Unmarshal(text, &p.of); err != nil { // whose text could quote a password
		return p, fmt.Errorf("--redis.password-file: %s must be JSON such as {\"redis://user@host:6379\": \"secret\"}", f.passwordFile)
	}
	for address := range p.of {
		if _, err := parseAddress(address); err != nil {
			return p, fmt.Errorf("--redis.password-file: an address in %s: %w", f.passwordFile, err)
		}
	}
	return p, nil
}

// find gives the password of a source, if the file has one for its address and user.
func (p passwordFile) find(s source) config.Secret {
	text, err := s.URI.Read()
	if err != nil || len(p.of) == 0 {
		return config.Secret{}
	}
	wanted, err := parseAddress(text)
	if err != nil || wanted.password != "" {
		return config.Secret{}
	}
	if s.User != "" {
		wanted.user = s.User
	}
	for address, password := range p.of {
		if known, err := parseAddress(address); err == nil && known.reaches(wanted) {
			return config.SecretValue(password)
		}
	}
	return config.Secret{}
}

// reaches tells whether two addresses lead to the same server as the same user. What is bound to one with TLS is not
// for one without.
func (s *settings) reaches(other *settings) bool {
	return s.network == other.network && s.address == other.address && s.user == other.user && s.found.name == other.found.name && (s.tls == nil) == (other.tls == nil)
}
