package main

import (
	"bufio"
	"context"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
)

// scripted is a server that says what a test wants, for what real servers cannot be brought to say. Its usual answers
// are those that a Redis 7 has given.
type scripted struct {
	listener net.Listener
	answer   func(args []string) string // raw; "" for the usual one

	mu    sync.Mutex
	asked []string
	conns []net.Conn
}

func newScripted(t *testing.T, answer func(args []string) string) *scripted {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &scripted{listener: listener, answer: answer}
	t.Cleanup(s.close)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns = append(s.conns, conn)
			s.mu.Unlock()
			go s.serve(conn)
		}
	}()
	return s
}

func (s *scripted) close() {
	_ = s.listener.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, conn := range s.conns {
		_ = conn.Close()
	}
}

func (s *scripted) serve(conn net.Conn) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	for {
		args, err := readCommand(r)
		if err != nil {
			return
		}
		s.mu.Lock()
		s.asked = append(s.asked, strings.Join(args, " "))
		s.mu.Unlock()
		text := s.answer(args)
		if text == "" {
			text = usual(args)
		}
		if text == hangUp {
			return
		}
		if _, err := io.WriteString(conn, text); err != nil {
			return
		}
	}
}

const hangUp = "hang up"

// usual answers as a Redis 7 does.
func usual(args []string) string {
	switch strings.ToUpper(args[0]) {
	case "HELLO":
		return "%2\r\n$6\r\nserver\r\n$5\r\nredis\r\n$5\r\nproto\r\n:3\r\n"
	case "PING":
		if len(args) > 1 {
			return bulk(args[1])
		}
		return "+PONG\r\n"
	case "INFO":
		return bulk("# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\n\r\n# Replication\r\nrole:master\r\n")
	case "DBSIZE":
		return ":3\r\n"
	}
	return "+OK\r\n"
}

func bulk(text string) string { return "$" + strconv.Itoa(len(text)) + "\r\n" + text + "\r\n" }

func readCommand(r *bufio.Reader) ([]string, error) {
	count, err := readCount(r)
	args := make([]string, 0, max(count, 0))
	for range count {
		length, err := readCount(r)
		if err != nil {
			return nil, err
		}
		text := make([]byte, length+2)
		if _, err := io.ReadFull(r, text); err != nil {
			return nil, err
		}
		args = append(args, string(text[:length]))
	}
	return args, err
}

func readCount(r *bufio.Reader) (int, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(line[1:]))
}

// count tells how often the server was asked something that begins so.
func (s *scripted) count(begins string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, asked := range s.asked {
		if strings.HasPrefix(asked, begins) {
			n++
		}
	}
	return n
}

// driver is one that connects to the server.
func (s *scripted) driver(change ...func(*settings)) *driver {
	return &driver{settings: func() (*settings, error) {
		to := &settings{network: "tcp", address: s.listener.Addr().String(), timeout: 2 * time.Second}
		for _, c := range change {
			c(to)
		}
		return to, nil
	}}
}

// connected connects to a server, which must work.
func connected(t *testing.T, d *driver) *conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	opened, err := d.Connect(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(opened.Close)
	return opened.(*conn)
}

// say asks questions and gives each answer as a text: of a refusal, its words after "refused: "; of the whole that
// failed, the kind after "broken: ".
func say(t *testing.T, c *conn, questions ...collect.Question) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	var all []string
	err := c.Do(ctx, questions, func(i int, answer collect.Answer, err error) {
		switch {
		case i != len(all):
			t.Errorf("answer %d comes as number %d", i, len(all))
		case err != nil:
			all = append(all, "refused: "+err.Error())
		default:
			all = append(all, answered(answer).Text())
		}
	})
	if err != nil {
		all = append(all, "broken: "+string(c.driver.Classify(err)))
	}
	return all
}
