package app

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/alfred-agent-platform/backend-exporters/common/config"
)

// healthCheck is what the command healthcheck asks, and what it shows to be let in.
type healthCheck struct {
	url, user, passwordFile string
}

func (h *healthCheck) flags(command *kingpin.CmdClause) {
	command.Flag("url", "URL of the health check.").Default("http://localhost" + DefaultAddress + "/health").StringVar(&h.url)
	command.Flag("http", "The same as --url.").Hidden().StringVar(&h.url)
	command.Flag("user", "User to log in as, where the exporter's web configuration has basic_auth_users.").StringVar(&h.user)
	command.Flag("password-file", "File with the user's password.").StringVar(&h.passwordFile)
}

func (h *healthCheck) request(ctx context.Context) (*http.Request, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, h.url, nil)
	if err != nil || h.user == "" {
		return request, err
	}
	if h.passwordFile == "" {
		return nil, errors.New("--user needs --password-file")
	}
	password, err := config.SecretFile(h.passwordFile).Read()
	request.SetBasicAuth(h.user, password)
	return request, err
}

// healthcheck asks a running exporter how it is, and prints what it says.
func (p *program) healthcheck() int {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	request, err := p.health.request(ctx)
	if err != nil {
		return p.fail(2, err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return p.fail(1, err)
	}
	defer func() { _ = answer.Body.Close() }()
	body, _ := io.ReadAll(io.LimitReader(answer.Body, 64<<10))
	p.print("%s\n", strings.TrimSpace(string(body)))
	switch answer.StatusCode {
	case http.StatusOK:
		return 0
	case http.StatusUnauthorized:
		return p.fail(1, errors.New("the exporter wants a password: give --user and --password-file"))
	}
	return 1
}
