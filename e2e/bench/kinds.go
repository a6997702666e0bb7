package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/e2e/fakes/pgreplay"
	"github.com/alfred-agent-platform/backend-exporters/e2e/fakes/qdrant"
	"github.com/alfred-agent-platform/backend-exporters/e2e/fakes/smtp"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// Kind is a kind of servers that can be had at very many addresses, and how exporters are told to ask for them.
type Kind struct {
	Name  string
	Start func(ctx context.Context, dir string) (*Crowd, error)
}

// Crowd is servers, or one server at many addresses.
type Crowd struct {
	At    func(n int) (string, error) // the n-th address; with it, somebody answers there
	Ours  Asked
	Peer  *Asked // nil where there is none
	Note  string // who answers, in a sentence for the report
	Close func() error
}

// Asked is how an exporter is told of servers.
type Asked struct {
	Name          string
	Binary        string // of ours: a name under bin/; else a path
	Args, Env     []string
	Configuration string // of a file whose path follows --config.file=; "" for none
	URL           func(address string) string
	Up            string // the line of a page whose target answers
}

// Kinds lists the kinds.
func Kinds() []Kind {
	return []Kind{{"postgres", postgres}, {"redis", redis}, {"smtp", mail}, {"vector-db", vectors}}
}

// Begin runs an exporter that was told so. Our binaries are in the folder bin.
func (a Asked) Begin(ctx context.Context, bin, dir string, more ...string) (*servers.Exporter, error) {
	args := append(append([]string{}, a.Args...), more...)
	if a.Configuration != "" {
		file := filepath.Join(dir, a.Name+".yml")
		if err := os.WriteFile(file, []byte(a.Configuration), 0o600); err != nil {
			return nil, err
		}
		args = append(args, "--config.file="+file)
	}
	path := a.Binary
	if !filepath.IsAbs(path) {
		path = filepath.Join(bin, path)
	}
	return servers.StartExporter(ctx, path, a.Env, args...)
}

// asked gives the pattern of a URL as a function.
func asked(path string) func(string) string {
	return func(address string) string { return path + url.QueryEscape(address) }
}

// postgres is what one real server answers, recorded and replayed at each address: its own processor time for 60 scrapes a
// second would leave none to whom is measured. It trusts its clients, so that the record holds no nonce; what an exporter
// asks is not changed by that, but for one or two messages of each new connection.
func postgres(ctx context.Context, _ string) (*Crowd, error) {
	peer, err := servers.Peer()
	if err != nil {
		return nil, err
	}
	db, err := servers.StartPostgres(ctx, servers.PostgresOptions{
		HBA:     []string{"host all monitor 127.0.0.1/32 trust"},
		Initial: []string{"CREATE ROLE monitor LOGIN IN ROLE pg_monitor"},
	})
	if err != nil {
		return nil, err
	}
	replay := pgreplay.New(db.Addr())
	here := &listeners{serve: replay.Serve}
	const module = "auth_modules: {all: {type: userpass, userpass: {username: monitor, password: monitor}, options: {sslmode: disable}%s}}\n"
	database := func(address string) string {
		return "/probe?auth_module=all&target=" + url.QueryEscape(address+"/postgres")
	}
	return &Crowd{
		At:   here.at,
		Ours: Asked{Name: "postgres-exporter", Binary: "postgres-exporter", Configuration: fmt.Sprintf(module, ", targets: ['127.*']"), URL: database, Up: "pg_up 1"},
		Peer: &Asked{Name: "postgres_exporter", Binary: peer, Configuration: fmt.Sprintf(module, ""), URL: database, Up: "pg_up 1"},
		Note: fmt.Sprintf("The answers are those of one PostgreSQL %s, recorded at the first question and replayed at every address.", db.Version()),
		Close: func() error {
			return errors.Join(here.close(), replay.Close(), db.Close())
		},
	}, nil
}

// redis is one server.
func redis(ctx context.Context, _ string) (*Crowd, error) {
	peer, err := servers.RedisPeer()
	if err != nil {
		return nil, err
	}
	server, err := servers.StartRedis(ctx, servers.RedisOptions{
		Config: []string{"bind 0.0.0.0"}, Password: "monitor", Initial: [][]any{{"DEBUG", "POPULATE", "10000", "key", "16"}},
	})
	if err != nil {
		return nil, err
	}
	return &Crowd{
		At:   AtPort(server.Port()),
		Note: "One real server answers at every address.",
		Ours: Asked{
			Name: "redis-exporter", Binary: "redis-exporter", Env: []string{"REDIS_ADDR="}, Up: "redis_up 1",
			Configuration: "auth_modules: {all: {userpass: {password: monitor}, targets: ['127.*']}}\n", URL: asked("/probe?auth_module=all&target=redis://"),
		},
		Peer: &Asked{
			Name: "redis_exporter", Binary: peer, Args: []string{"--redis.addr=", "--include-go-runtime-metrics"}, Env: []string{"REDIS_PASSWORD=monitor"},
			URL: asked("/scrape?target=redis://"), Up: "redis_up 1",
		},
		Close: server.Close,
	}, nil
}

// polite is what the fakes of mail servers say, with TLS in between: no real server listens at a thousand addresses.
const polite = `
	S 220 mail.test ESMTP
	C EHLO
	S 250-mail.test
	S 250 STARTTLS
	C STARTTLS
	S 220 go
	TLS
	C EHLO
	S 250-mail.test
	S 250-PIPELINING
	S 250 SIZE 10240000
	C QUIT
	S 221 bye
`

// mail is fakes of mail servers: no real one listens at a thousand addresses.
func mail(_ context.Context, dir string) (*Crowd, error) {
	peer, err := servers.MailPeer()
	if err != nil {
		return nil, err
	}
	authority := smtp.NewAuthority()
	good, caFile := authority.Good(), filepath.Join(dir, "ca.crt")
	if err := os.WriteFile(caFile, authority.PEM(), 0o600); err != nil {
		return nil, err
	}
	here := &listeners{serve: func(listener net.Listener) {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() { _ = smtp.Follow(conn, good, polite) }()
		}
	}}
	path := "/probe?module=starttls&target="
	return &Crowd{
		At:   here.at,
		Note: "Fakes of a mail server answer, with a real TLS handshake.",
		Ours: Asked{
			Name: "smtp-exporter", Binary: "smtp-exporter", URL: asked(path), Up: "smtp_probe_success 1",
			Configuration: fmt.Sprintf("probe: {targets: ['127.*']}\nmodules: {starttls: {tls: starttls, tls_config: {ca_file: %s, server_name: mail.test}}}\n", caFile),
		},
		Peer: &Asked{
			Name: "blackbox_exporter", Binary: peer, URL: asked(path), Up: "probe_success 1",
			Configuration: fmt.Sprintf(`modules: {starttls: {prober: tcp, tcp: {preferred_ip_protocol: ip4, tls_config: {ca_file: %s, server_name: mail.test}, query_response: [
  {expect: "^220 "}, {send: "EHLO probe.test\r"}, {expect: "^250 STARTTLS"}, {send: "STARTTLS\r"}, {expect: "^220 "}, {starttls: true},
  {send: "EHLO probe.test\r"}, {expect: "^250 SIZE"}, {send: "QUIT\r"}, {expect: "^221 "}]}}}
`, caFile),
		},
		Close: here.close,
	}, nil
}

// vectors is a fake of Qdrant at many addresses.
func vectors(context.Context, string) (*Crowd, error) {
	fake := qdrant.New(qdrant.Options{})
	for n := range 10 {
		fake.Add(fmt.Sprintf("collection%d", n), map[string]qdrant.Vector{"": {Size: 8, Distance: "Cosine"}})
	}
	here := &listeners{serve: func(listener net.Listener) {
		server := &http.Server{Handler: fake, ReadHeaderTimeout: time.Minute}
		_ = server.Serve(listener) // until it is closed
	}}
	return &Crowd{
		At:   here.at,
		Note: "A fake of Qdrant answers at every address.",
		Ours: Asked{
			Name: "vector-db-exporter", Binary: "vector-db-exporter", URL: asked("/probe?auth_module=all&target="), Up: "vectordb_up 1",
			Configuration: "auth_modules: {all: {type: qdrant, targets: ['127.*']}}\n",
		},
		Close: here.close,
	}, nil
}

// listeners are fakes of servers, each at an address of its own.
type listeners struct {
	serve func(net.Listener)
	all   []net.Listener
}

func (l *listeners) at(n int) (string, error) {
	listener, err := net.Listen("tcp", net.JoinHostPort(Loopback(n), "0"))
	if err != nil {
		return "", err
	}
	l.all = append(l.all, listener)
	go l.serve(listener)
	return listener.Addr().String(), nil
}

func (l *listeners) close() error {
	var err error
	for _, listener := range l.all {
		err = errors.Join(err, listener.Close())
	}
	return err
}
