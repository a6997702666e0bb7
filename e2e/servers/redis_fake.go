package servers

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// RedisFake stands before a real server and gives some answers in its place: those that no server here can be brought
// to give, of ten thousand clients or of a version to come. All other answers are the server's.
type RedisFake struct {
	target   string
	listener net.Listener
	running  sync.WaitGroup

	mu      sync.Mutex
	answers map[string]string
	live    map[net.Conn]struct{} // nil once it is closed
}

// NewRedisFake starts a fake before a server's address for a test and closes it at the test's end.
func NewRedisFake(tb testing.TB, target string) *RedisFake {
	tb.Helper()
	f, err := StartRedisFake(target)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(f.Close)
	return f
}

// StartRedisFake is NewRedisFake for programs. The caller closes it.
func StartRedisFake(target string) (*RedisFake, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	f := &RedisFake{target: target, listener: listener, answers: map[string]string{}, live: map[net.Conn]struct{}{}}
	f.running.Go(f.accept)
	return f, nil
}

// Addr returns the host:port to connect to instead of the server's.
func (f *RedisFake) Addr() string { return f.listener.Addr().String() }

// Answer has a command, such as CLIENT LIST with whatever follows, answered by these bytes; "" means every command.
func (f *RedisFake) Answer(command, raw string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answers[command] = raw
}

// Forget leaves all commands to the server again.
func (f *RedisFake) Forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.answers)
}

// BulkText writes a text as an answer.
func BulkText(text string) string { return fmt.Sprintf("$%d\r\n%s\r\n", len(text), text) }

// Close ends the fake and its connections.
func (f *RedisFake) Close() {
	_ = f.listener.Close() // it has no unsaved state to lose
	f.mu.Lock()
	for conn := range f.live {
		_ = conn.Close()
	}
	f.live = nil
	f.mu.Unlock()
	f.running.Wait()
}

func (f *RedisFake) accept() {
	for {
		client, err := f.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", f.target)
		if err != nil {
			_ = client.Close()
			continue
		}
		f.running.Go(func() {
			if f.keep(client) && f.keep(server) {
				_ = f.serve(client, server) // whoever breaks it off sees why
			}
			_, _ = client.Close(), server.Close()
		})
	}
}

func (f *RedisFake) keep(conn net.Conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.live != nil {
		f.live[conn] = struct{}{}
	}
	return f.live != nil
}

// serve answers one command after the other. Answers leave when the client has no more commands on the way.
func (f *RedisFake) serve(client, server net.Conn) error {
	commands, answers, out := bufio.NewReader(client), bufio.NewReader(server), bufio.NewWriterSize(client, 64<<10)
	for {
		var raw strings.Builder
		words, err := readCommand(commands, &raw)
		if err != nil {
			return err
		}
		if answer, ours := f.answerTo(words); ours {
			_, err = out.WriteString(answer)
		} else if _, err = io.WriteString(server, raw.String()); err == nil {
			err = copyReply(out, answers)
		}
		if err == nil && commands.Buffered() == 0 {
			err = out.Flush()
		}
		if err != nil {
			return err
		}
	}
}

// answerTo finds the answer for the first words of a command, the longest first.
func (f *RedisFake) answerTo(words []string) (answer string, ours bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for n := min(2, len(words)); n >= 0; n-- {
		if answer, ours = f.answers[strings.ToUpper(strings.Join(words[:n], " "))]; ours {
			return answer, true
		}
	}
	return "", false
}

// readCommand reads an array of texts, and keeps its bytes.
func readCommand(from *bufio.Reader, raw *strings.Builder) ([]string, error) {
	line, err := from.ReadString('\n')
	if err != nil {
		return nil, err
	}
	raw.WriteString(line)
	count, err := replyCount(line)
	if err != nil || line[0] != '*' {
		return nil, errors.Join(err, fmt.Errorf("no command: %q", line))
	}
	var words []string
	for range count {
		begin := raw.Len()
		if err := copyReply(raw, from); err != nil {
			return nil, err
		}
		_, word, _ := strings.Cut(raw.String()[begin:], "\r\n")
		words = append(words, strings.TrimSuffix(word, "\r\n"))
	}
	return words, nil
}

// copyReply copies one reply, of RESP2 or RESP3, with all that is in it.
func copyReply(to io.Writer, from *bufio.Reader) error {
	line, err := from.ReadString('\n')
	if err != nil {
		return err
	}
	if _, err := io.WriteString(to, line); err != nil || !strings.ContainsRune("$=!*~>%|", rune(line[0])) {
		return err
	}
	count, err := replyCount(line)
	if err != nil || count < 0 {
		return err
	}
	switch line[0] {
	case '$', '=', '!':
		_, err = io.CopyN(to, from, int64(count)+2)
		return err
	case '%':
		count *= 2
	case '|':
		count = 2*count + 1 // attributes, and then what they belong to
	}
	for range count {
		if err := copyReply(to, from); err != nil {
			return err
		}
	}
	return nil
}

func replyCount(line string) (int, error) { return strconv.Atoi(strings.TrimSpace(line[1:])) }
