package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
)

func TestClassifySQLState(t *testing.T) {
	t.Parallel()
	for kind, codes := range map[fault.Kind][]string{
		fault.Auth:        {"28000", "28P01"},
		fault.Denied:      {"42501"},
		fault.Unsupported: {"42P01", "42883", "42703", "0A000", "55000"},
		fault.Timeout:     {"57014"},
		fault.Busy: {
			"55P03", "53000", "53100", "53200", "53300", "53400", // a lock; disk, memory, slots
			"40001", "40P01", "40000", "55006", // rolled back for the sake of others
		},
		fault.Unreachable: {
			"08000", "08001", "08003", "08004", "08006", "08007", "08P01", // the connection
			"57000", "57P01", "57P02", "57P03", "57P04", "57P05", // shutdown, crash, start, dropped database
			"58000", "58030", "58P01", // the server's own files
			"26000",          // a prepared statement that we know and the server does not
			"25P03", "25P04", // the session was ended for being idle or slow
		},
		fault.Config:    {"3D000"},
		fault.Limited:   {"54000", "54001", "54011", "54023"},
		fault.Internal:  {"25001", "25006", "25P02", "42601", "42P02", "42P05", "42804", "42000"},
		fault.Malformed: {"22P05", "22021", "22012", "22003", "XX000", "XX001", "XX002", "P0001", "F0000", "", "4", "28", "57", "999999", "日本"},
	} {
		for _, code := range codes {
			if got := (&driver{}).Classify(fmt.Errorf("wrapped: %w", &pgconn.PgError{Code: code})); got != kind {
				t.Errorf("SQLSTATE %q is %q, want %q", code, got, kind)
			}
		}
	}
}

func TestClassify(t *testing.T) {
	t.Parallel()
	_, parsing := pgconn.ParseConfig("postgresql://h:port")
	refused := func(errno syscall.Errno) error {
		return &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", errno)}
	}
	for name, test := range map[string]struct {
		err  error
		want fault.Kind
	}{
		"judged before":           {fault.New(fault.Limited, "too much"), fault.Limited},
		"judged before an answer": {errors.Join(&pgconn.PgError{Code: "28P01"}, fault.New(fault.Denied, "no")), fault.Denied},
		"deadline":                {context.DeadlineExceeded, fault.Timeout},
		"called off":              {context.Canceled, fault.Timeout},
		"deadline of a read":      {&net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, fault.Timeout},
		"connection string":       {parsing, fault.Config},
		"no TLS":                  {errors.New("tls error: server refused TLS connection"), fault.Config},
		"long message":            {&pgproto3.ExceededMaxBodyLenErr{}, fault.Limited},
		"wrong certificate":       {&tls.CertificateVerificationError{Err: x509.HostnameError{Certificate: &x509.Certificate{}}}, fault.Auth},
		"unknown authority":       {x509.UnknownAuthorityError{}, fault.Auth},
		"certificate not wanted":  {&net.OpError{Op: "remote error", Err: tls.AlertError(42)}, fault.Auth},
		"refused":                 {refused(syscall.ECONNREFUSED), fault.Unreachable},
		"reset":                   {refused(syscall.ECONNRESET), fault.Unreachable},
		"no route":                {refused(syscall.EHOSTUNREACH), fault.Unreachable},
		"no such host":            {&net.DNSError{IsNotFound: true}, fault.Unreachable},
		"slow name server":        {&net.DNSError{IsTimeout: true}, fault.Timeout},
		"end":                     {io.EOF, fault.Unreachable},
		"end within a message":    {io.ErrUnexpectedEOF, fault.Unreachable},
		"closed by us":            {net.ErrClosed, fault.Unreachable},
		"closed by the library":   {pgconn.ErrConnClosed, fault.Unreachable},
		"no socket":               {&net.OpError{Op: "dial", Err: os.ErrNotExist}, fault.Unreachable},
		"anything else":           {errors.New("invalid message length: 3"), fault.Malformed},
	} {
		if got := (&driver{}).Classify(fmt.Errorf("connecting: %w", test.err)); got != test.want {
			t.Errorf("%s is %q, want %q", name, got, test.want)
		}
	}
}

func FuzzVersionNumber(f *testing.F) {
	for text, want := range map[string]int{
		"15.4 (Debian 15.4-1.pgdg120+1)": 150004, "17beta2": 170000, "18rc1": 180000, "13.14": 130014, "16": 160000,
		"14.2 - Percona": 140002, "": 0, "x": 0, "-1.2": 2, "99999999999999999999.1": 1, "٣.1": 1, "9.6.24": 90006,
	} {
		if got := versionNumber(text); got != want {
			f.Errorf("%q is %d, want %d", text, got, want)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if n := versionNumber(text); n < 0 || n > 1e10 {
			t.Errorf("%q is %d", text, n)
		}
	})
}

func FuzzWire(f *testing.F) {
	for _, text := range []string{"", "R\x00\x00\x00\x08\x00\x00\x00\x00", "2\x00\x00\x00\x04D\x00\x00\x00\x06\x00\x00C\x00\x00\x00\x05\x00", "D\xff\xff\xff\xff", "S\x7f\xff\xff\xff"} {
		f.Add([]byte(text), uint8(3))
	}
	f.Fuzz(func(t *testing.T, said []byte, step uint8) {
		whole, pieces := &wire{}, &wire{}
		want, got := whole.follow(said), error(nil)
		for left := said; len(left) > 0 && got == nil; {
			n := min(int(step%16)+1, len(left))
			got, left = pieces.follow(left[:n]), left[n:]
		}
		if (want == nil) != (got == nil) || want != nil && want.Error() != got.Error() {
			t.Errorf("at once %v, in pieces %v", want, got)
		}
	})
}
