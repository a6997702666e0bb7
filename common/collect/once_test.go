package collect

import (
	"context"
	"testing"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/common/health"
)

// onceServer is a backend of which each batch is a connection of its own.
type onceServer struct {
	*server
	patience time.Duration // as the last batch was told
}

type onceConn struct {
	Conn
	server *onceServer
}

func (onceConn) Once() {}

func (s *onceServer) Connect(ctx context.Context) (Conn, error) {
	conn, err := s.server.Connect(ctx)
	return onceConn{conn, s}, err
}

func (c onceConn) Do(ctx context.Context, questions []Question, read func(int, Answer, error)) error {
	if until, ok := Patience(ctx); ok {
		c.server.patience = time.Until(until)
	}
	return c.Conn.Do(ctx, questions, read)
}

// TestOnce holds that a connection of one batch is closed after it, that the answer about connecting counts as the
// connect step, and that a batch knows how long its caller waits.
func TestOnce(t *testing.T) {
	s := &onceServer{server: newServer()}
	s.probes = []Probe{{Operation: Connection, Question: Question{Text: "connect"}}, {Operation: Ping, Question: Question{Text: "ping"}}}
	s.replies["connect"] = reply{after: 20 * time.Millisecond, fields: "ok"}
	bubble(t, s.server, nil, func(f *fixture) {
		f.spec.Driver = s
		f.link.driver = s
		for range 2 {
			result := f.scrape(3 * second)
			if !result.Up || result.Health.Connect != (health.Outcome{Asked: true, Latency: 20 * time.Millisecond}) || s.patience != 3*second {
				t.Errorf("%v, %+v, patience %v", result.Err, result.Health, s.patience)
			}
			if s.open != 0 {
				t.Errorf("%d connections are open", s.open)
			}
			later()
		}
		if len(s.attempts) != 2 {
			t.Errorf("%d connections were made", len(s.attempts))
		}
		s.set("connect", reply{err: fault.New(fault.Unreachable, "refused")})
		if result := f.scrape(second); result.Up || result.Health.Connect.Fault != fault.Unreachable || result.Fault != fault.Unreachable {
			t.Errorf("up %v, %+v", result.Up, result.Health)
		}
	})
}
