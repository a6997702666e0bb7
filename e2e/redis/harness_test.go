package redis

import (
	"testing"

	"github.com/alfred-agent-platform/backend-exporters/e2e/harness"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

const exporterName = "redis-exporter"

// exporter is a running redis-exporter, the binary that users run.
type exporter struct{ *harness.Exporter }

// start runs the exporter with an environment and arguments and waits until it listens.
func start(t testing.TB, env []string, args ...string) *exporter {
	t.Helper()
	return &exporter{harness.Start(t, exporterName, env, args...)}
}

// at runs the exporter for the server at an address, host:port.
func at(t testing.TB, address string, args ...string) *exporter {
	t.Helper()
	return start(t, []string{"REDIS_ADDR=redis://" + address}, args...)
}

// login is the environment that says which server, and as whom.
func login(server *servers.Redis) []string {
	env := []string{"REDIS_ADDR=" + server.URL()}
	if server.Password() != "" {
		env = append(env, "REDIS_PASSWORD="+server.Password())
	}
	if server.CAFile() != "" {
		env = append(env, "REDIS_EXPORTER_TLS_CA_CERT_FILE="+server.CAFile())
	}
	return env
}

// run runs commands on a server, each on a connection of its own.
func run(t testing.TB, server *servers.Redis, commands ...[]any) {
	t.Helper()
	for _, command := range commands {
		if _, err := server.Do(t.Context(), command...); err != nil {
			t.Fatalf("%v: %v", command, err)
		}
	}
}
