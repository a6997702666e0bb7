package smtp

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/e2e/harness"
)

// hostile are servers that flood, drip or say nothing: fakes, as no real one does so.
var hostile = map[string]struct {
	talk          func(net.Conn)
	phase, reason string
}{
	"endless banner": {func(c net.Conn) { _, _ = io.WriteString(c, "220 "); forever(c, "x") }, "banner", "reply_too_large"},
	"endless lines":  {func(c net.Conn) { forever(c, "220-more\r\n") }, "banner", "reply_too_large"},
	"10 MB EHLO": {func(c net.Conn) {
		_, _ = io.WriteString(c, "220 mail.test\r\n")
		_, _ = c.Read(make([]byte, 100))
		_, _ = c.Write(longReply)
	}, "ehlo", "reply_too_large"},
	"garbage": {func(c net.Conn) { forever(c, "\x00\xff") }, "banner", "bad_reply"},
	"tarpit": {func(c net.Conn) {
		for _, b := range []byte("220 mail.test is in no hurry\r\n") {
			if _, err := c.Write([]byte{b}); err != nil {
				return
			}
			time.Sleep(time.Second)
		}
	}, "banner", "timeout"},
	"silence": {func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }, "banner", "timeout"},
}

// longReply is made once, before anybody waits for it.
var longReply = append([]byte("250-"), bytes.Repeat([]byte("x"), 10<<20)...)

func forever(c net.Conn, text string) {
	block := []byte(strings.Repeat(text, 1<<12))
	for {
		if _, err := c.Write(block); err != nil {
			return
		}
	}
}

// TestHostilePeers probes each of them often and at once, under a limit of memory. Nothing of it stays, and a good server
// beside them is not harmed.
func TestHostilePeers(t *testing.T) {
	postfix, _ := mailServers(t, nil)
	e := &exporter{harness.Start(t, exporterName, []string{"GOMEMLIMIT=64MiB"},
		configured(t, "probe: {targets: ['127.0.0.1']}\nmodules: {short: {tls: none, until: ehlo, timeout: 1s}}"))}
	e.probe("short", postfix.Addr()).Want(t, "smtp_probe_success", 1)
	before, _ := e.Scrape("5").Value("go_goroutines")
	var wg sync.WaitGroup
	for name, c := range hostile {
		for range 5 {
			address := listen(t, c.talk)
			wg.Go(func() {
				p := e.probe("short", address)
				p.Want(t, fmt.Sprintf("smtp_probe_failure_info{phase=%q,reason=%q}", c.phase, c.reason), 1)
				if took, ok := p.Value("smtp_probe_duration_seconds"); !ok || took > 1.2 {
					t.Errorf("%s: it took %v s", name, took)
				}
			})
		}
	}
	wg.Go(func() { e.probe("short", postfix.Addr()).Want(t, "smtp_probe_success", 1) })
	wg.Wait()
	harness.Eventually(t, 5*time.Second, "nothing stays of them", func() error {
		if after, _ := e.Scrape("5").Value("go_goroutines"); after > before+5 {
			return fmt.Errorf("%v goroutines instead of %v", after, before)
		}
		return nil
	})
	if peak, err := e.PeakRSS(); err != nil || peak > 80<<20 {
		t.Errorf("%d MB were resident: %v", peak>>20, err)
	}
}

// listen serves every client with a function and gives the address.
func listen(t *testing.T, talk func(net.Conn)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
				talk(conn)
			}()
		}
	}()
	t.Cleanup(func() { _ = listener.Close() })
	return listener.Addr().String()
}
