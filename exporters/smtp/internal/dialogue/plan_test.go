package dialogue

import (
	"context"
	"crypto/tls"
	"strings"
	"testing"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/e2e/fakes/smtp"
)

// farthest is a plan for the scripted server that goes as far as can be.
func farthest(a *smtp.Authority, address string) Plan {
	return Plan{
		Address: address, Hello: "probe.test", TLS: StartTLS, ServerName: "mail.test", Roots: a.Pool, MinVersion: tls.VersionTLS12,
		Until: Data, Auth: &Credentials{Username: "user", Password: "hunter2"}, Transcript: true,
		Message: &Message{From: "a@probe.test", To: "b@mail.test", Content: []byte("Subject: x\n\n.hello\n")},
	}
}

// hold holds a dialogue within a second.
func hold(t *testing.T, plan Plan) *Report {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	r := Run(ctx, plan)
	if r.Took > 1200*time.Millisecond {
		t.Errorf("the dialogue took %s", r.Took)
	}
	return r
}

// said gives the transcript, for messages of tests.
func said(r *Report) string {
	var b strings.Builder
	_ = r.WriteTranscript(&b)
	return b.String()
}
