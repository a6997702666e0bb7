package queue

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
)

// Bounds on what a socket may send: for a message with very many recipients, and for all.
const (
	maxAttribute = 64 << 10
	maxListing   = 1 << 30
)

// Showq asks Postfix' server for listings of the queue, as postqueue does. Path is that of its socket, mostly
// /var/spool/postfix/public/showq, which the group postdrop and the user of Postfix may use.
type Showq struct{ Path string }

// postfixQueues are the folders that the server lists.
func postfixQueues() Queues { return newQueues("maildrop", "incoming", "active", "deferred", "hold") }

// Read asks for one listing.
func (s Showq) Read(ctx context.Context) (Queues, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", s.Path)
	if err != nil {
		return nil, fault.Wrap(fileKind(err), "connecting to showq", err)
	}
	defer conn.Close() //nolint:errcheck // nothing was written
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	queues, err := readListing(io.LimitReader(conn, maxListing), time.Now())
	if err != nil {
		return nil, fault.Wrap(listingKind(ctx, err), "reading the listing of showq", err)
	}
	return queues, nil
}

// errListing is a listing that is none, or that ends too early.
var errListing = errors.New("it is no listing of a Postfix queue")

func listingKind(ctx context.Context, err error) fault.Kind {
	switch {
	case ctx.Err() != nil:
		return fault.Timeout
	case errors.Is(err, errListing), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fault.Malformed
	}
	return fault.None // as the error itself says
}

// fileKind tells why a socket or a folder cannot be used.
func fileKind(err error) fault.Kind {
	switch {
	case errors.Is(err, os.ErrPermission):
		return fault.Denied
	case errors.Is(err, os.ErrNotExist), errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ENOTSOCK), errors.Is(err, syscall.ECONNREFUSED):
		return fault.Unreachable
	}
	return fault.None
}

// readListing reads a listing: for each message names and values, each ended by a NUL byte, and one more NUL at the end
// of the message; at the end of all another one. Since version 3.6 Postfix says first which protocol it speaks.
func readListing(from io.Reader, now time.Time) (Queues, error) {
	r, queues := &attributes{from: bufio.NewReaderSize(from, maxAttribute)}, postfixQueues()
	for first := true; ; first = false {
		entry, err := r.entry()
		switch {
		case err != nil:
			return nil, err
		case entry.empty:
			return queues, nil
		case first && entry.protocol:
			continue
		case !entry.whole():
			return nil, errListing
		}
		queue := queues[entry.queue]
		if queue == nil {
			return nil, errListing
		}
		if err := queues.full(); err != nil {
			return nil, err
		}
		queue.add(entry.size, time.Unix(entry.arrived, 0), now)
	}
}

// entry is what is of interest about a message.
type entry struct {
	empty         bool
	protocol      bool
	queue         string
	arrived, size int64
}

func (e entry) whole() bool { return e.queue != "" && e.arrived > 0 && e.size >= 0 }

// attributes reads names and values.
type attributes struct{ from *bufio.Reader }

// entry reads up to the NUL that ends a message.
func (a *attributes) entry() (entry, error) {
	e := entry{empty: true, size: -1}
	for {
		name, err := a.word()
		if err != nil || name == "" {
			return e, err
		}
		value, err := a.word()
		if err != nil {
			return e, err
		}
		e.empty = false
		switch name {
		case "protocol":
			e.protocol = value == "mail_queue_list_protocol"
		case "queue_name":
			e.queue = value
		case "time":
			e.arrived, err = strconv.ParseInt(value, 10, 64)
		case "size":
			e.size, err = strconv.ParseInt(value, 10, 64)
		}
		if err != nil {
			return e, errListing
		}
	}
}

// word reads up to the next NUL.
func (a *attributes) word() (string, error) {
	text, err := a.from.ReadSlice(0)
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return "", fault.New(fault.Limited, "an attribute is longer than any may be")
	case errors.Is(err, io.EOF):
		return "", io.ErrUnexpectedEOF
	case err != nil:
		return "", err
	}
	return string(text[:len(text)-1]), nil
}
