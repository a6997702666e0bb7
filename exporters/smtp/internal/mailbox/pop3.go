package mailbox

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/exporters/smtp/internal/dialogue"
	"github.com/alfred-agent-platform/backend-exporters/exporters/smtp/internal/mark"
)

const (
	// pollPOP3 is the shortest pause: POP3 shows what is new only to who logs in anew.
	pollPOP3 = time.Second
	// maxLine is where a line of POP3 is cut, in bytes. Answers have 512; headers may have more.
	maxLine = 8 << 10
	// maxListed is how many messages a mailbox may hold.
	maxListed = 50_000
)

// POP3 is a mailbox without folders on a server.
type POP3 struct {
	Account
	Marks *mark.Signer
}

// Open does not connect: each look logs in anew.
func (b *POP3) Open(context.Context) (Session, error) {
	return &pop3Session{box: b, foreign: make(map[string]bool), refused: make(map[string]bool)}, nil
}

type pop3Session struct {
	box     *POP3
	conn    *pop3Conn       // logged in, nil where not
	foreign map[string]bool // messages that are known to be none of ours
	refused map[string]bool // messages that the server did not show
}

// Look logs in and reads the headers of the newest messages that it does not know yet. It stays logged in where it finds
// something, for Remove.
func (s *pop3Session) Look(ctx context.Context) ([]Found, error) {
	if err := s.leave(ctx); err != nil {
		return nil, err
	}
	conn, err := s.box.login(ctx)
	if err != nil {
		return nil, err
	}
	s.conn = conn
	defer conn.wire.bind(ctx)()
	found, err := s.read(conn)
	if err != nil {
		return nil, conn.judge(ctx, "read the mailbox", err)
	}
	if len(found) == 0 {
		return nil, s.leave(ctx)
	}
	return found, nil
}

func (s *pop3Session) read(conn *pop3Conn) ([]Found, error) {
	listed, err := conn.list()
	if err != nil {
		return nil, err
	}
	known, refused := s.foreign, s.refused
	s.foreign, s.refused = make(map[string]bool), make(map[string]bool)
	var found []Found
	for _, message := range listed[max(0, len(listed)-maxMessages):] {
		if known[message.id] {
			s.foreign[message.id] = true
			continue
		}
		text, err := conn.ask(fmt.Sprintf("TOP %d 0", message.number), maxHeader)
		if errors.Is(err, errRefused) && !refused[message.id] { // somebody may have removed it since it was listed
			s.refused[message.id] = true
			continue
		}
		if err != nil {
			return nil, err
		}
		message.Header = mark.ParseHeader(text)
		token, ok := s.box.Marks.Read(message.Header)
		if !ok {
			s.foreign[message.id] = true
			continue
		}
		message.Token = token
		found = append(found, message)
	}
	return found, nil
}

// Remove removes messages and logs out, which is when the server does it.
func (s *pop3Session) Remove(ctx context.Context, messages []Found) (int, error) {
	if s.conn == nil {
		return 0, fault.New(fault.Internal, "messages are removed that were not found before")
	}
	stop, removed := s.conn.wire.bind(ctx), 0
	defer stop()
	for _, message := range messages {
		err := s.conn.say(fmt.Sprintf("DELE %d", message.number))
		if err != nil && !errors.Is(err, errRefused) {
			return 0, s.conn.judge(ctx, "remove messages of ours", err)
		}
		if err == nil { // else it has gone
			removed++
		}
	}
	if err := s.leave(ctx); err != nil {
		return 0, err
	}
	return removed, nil
}

// leave logs out where we are logged in.
func (s *pop3Session) leave(ctx context.Context) error {
	if s.conn == nil {
		return nil
	}
	conn := s.conn
	s.conn = nil
	defer conn.wire.bind(ctx)()
	err := conn.say("QUIT")
	_ = conn.Close() // its answer is what counts
	return conn.judge(ctx, "log out of the mailbox", err)
}

// Wait logs out and sleeps.
func (s *pop3Session) Wait(ctx context.Context, pause time.Duration, wake <-chan struct{}) error {
	if err := s.leave(ctx); err != nil {
		return err
	}
	return sleep(ctx, max(pause, pollPOP3), wake)
}

// Close hangs up.
func (s *pop3Session) Close() {
	if s.conn != nil {
		_ = s.conn.Close()
	}
}

// pop3Conn speaks POP3 (RFC 1939, STLS by RFC 2595).
type pop3Conn struct {
	net.Conn
	wire *wire
	in   *bufio.Reader
}

// errRefused is an answer that begins with -ERR.
var errRefused = errors.New("refused")

func (c *pop3Conn) judge(ctx context.Context, op string, err error) error {
	if errors.Is(err, errRefused) {
		return c.wire.judge(ctx, fault.Denied, op, err)
	}
	return c.wire.judge(ctx, fault.Malformed, op, err)
}

func (b *POP3) login(ctx context.Context) (*pop3Conn, error) {
	password, err := b.Password()
	if err != nil {
		return nil, fault.Wrap(fault.Config, "", err)
	}
	if strings.ContainsAny(b.Username+password, "\r\n\x00") {
		return nil, fault.New(fault.Config, "the name or the password of the mailbox holds a line end")
	}
	w, conn, err := b.dial(ctx)
	if err != nil {
		return nil, err
	}
	c := &pop3Conn{Conn: conn, wire: w, in: bufio.NewReaderSize(conn, maxLine)}
	defer w.bind(ctx)()
	if err := b.greet(ctx, c, password); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

func (b *POP3) greet(ctx context.Context, c *pop3Conn, password string) error {
	if err := c.status(); err != nil {
		return c.judge(ctx, "greeting of the mailbox", err)
	}
	if b.TLS == dialogue.StartTLS {
		if err := c.say("STLS"); err != nil {
			return c.judge(ctx, "begin TLS with the mailbox", err)
		}
		if c.in.Buffered() > 0 {
			return fault.New(fault.Malformed, "the mailbox speaks before TLS has begun")
		}
		secure, err := b.secure(ctx, c.wire)
		if err != nil {
			return err
		}
		c.Conn, c.in = secure, bufio.NewReaderSize(secure, maxLine)
	}
	err := c.say("USER " + b.Username)
	if err == nil {
		err = c.say("PASS " + password)
	}
	if errors.Is(err, errRefused) {
		return c.wire.judge(ctx, fault.Auth, "log in to the mailbox", err)
	}
	return c.judge(ctx, "log in to the mailbox", err)
}

// list asks for the numbers and ids of all messages, in the order in which they came.
func (c *pop3Conn) list() ([]Found, error) {
	text, err := c.ask("UIDL", maxListed*80)
	if err != nil {
		return nil, err
	}
	var all []Found
	for line := range strings.Lines(string(text)) {
		number, id, _ := strings.Cut(strings.TrimSpace(line), " ")
		n, err := strconv.ParseUint(number, 10, 32)
		if err != nil || n == 0 || id == "" {
			return nil, errors.New("a list of messages cannot be read")
		}
		if all = append(all, Found{number: uint32(n), id: id}); len(all) > maxListed {
			return nil, fault.New(fault.Limited, fmt.Sprintf("the mailbox holds more than %d messages", maxListed))
		}
	}
	return all, nil
}

// say sends a command and reads an answer of one line.
func (c *pop3Conn) say(command string) error {
	if _, err := c.Write([]byte(command + "\r\n")); err != nil {
		return err
	}
	return c.status()
}

func (c *pop3Conn) status() error {
	line, err := c.line()
	switch {
	case err != nil:
		return err
	case strings.HasPrefix(line, "+OK"):
		return nil
	case strings.HasPrefix(line, "-ERR"):
		return fmt.Errorf("%w: %q", errRefused, line[:min(len(line), 200)])
	}
	return fmt.Errorf("no answer of POP3: %q", line[:min(len(line), 200)])
}

// ask sends a command and reads an answer of many lines, of which so many bytes are kept.
func (c *pop3Conn) ask(command string, limit int) ([]byte, error) {
	c.wire.meter.Allow(maxAnswers)
	if err := c.say(command); err != nil {
		return nil, err
	}
	var text []byte
	for {
		line, err := c.line()
		if err != nil || line == "." {
			return text, err
		}
		if len(text)+len(line) < limit {
			text = append(append(text, strings.TrimPrefix(line, ".")...), '\n')
		}
	}
}

// line reads a line without its end. What is beyond maxLine is passed over.
func (c *pop3Conn) line() (string, error) {
	part, more, err := c.in.ReadLine()
	line := string(part)
	for more && err == nil {
		_, more, err = c.in.ReadLine()
	}
	return line, err
}
