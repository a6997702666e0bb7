package bench

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
)

// Field is many addresses of which some are dead: at a half of these nobody listens, and at the others somebody accepts
// and never answers. Addresses of the living are those of one port at many addresses of the loopback net.
type Field struct {
	Addresses []string

	every   int
	silent  []net.Listener
	mu      sync.Mutex
	held    []net.Conn
	running sync.WaitGroup
}

// Loopback gives the n-th address of the loopback net beyond those that others use.
func Loopback(n int) string { return fmt.Sprintf("127.1.%d.%d", n/250, n%250+1) }

// NewField makes so many addresses, of which one in every so many is dead (none where that is 0). Live gives the
// address of a living one. The caller closes the field.
func NewField(count, every int, live func(n int) (string, error)) (*Field, error) {
	f := &Field{every: every}
	for n := range count {
		switch {
		case f.Live(n):
			address, err := live(n)
			if err != nil {
				return nil, errors.Join(err, f.Close())
			}
			f.Addresses = append(f.Addresses, address)
		case n/every%2 == 0:
			f.Addresses = append(f.Addresses, net.JoinHostPort(Loopback(n), "1")) // where nobody listens
		default:
			if err := f.listen(n); err != nil {
				return nil, errors.Join(err, f.Close())
			}
		}
	}
	return f, nil
}

// NewSilent makes a field of addresses where somebody accepts and never answers.
func NewSilent(count int) (*Field, error) {
	f := &Field{every: 1}
	for n := range count {
		if err := f.listen(n); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	return f, nil
}

// AtPort gives the addresses of one port of a server that listens on the whole loopback net.
func AtPort(port int) func(int) (string, error) {
	return func(n int) (string, error) { return net.JoinHostPort(Loopback(n), strconv.Itoa(port)), nil }
}

// Live tells whether somebody answers at an address.
func (f *Field) Live(n int) bool { return f.every == 0 || n%f.every != 0 }

// listen accepts connections and says nothing.
func (f *Field) listen(n int) error {
	listener, err := net.Listen("tcp", net.JoinHostPort(Loopback(n), "0"))
	if err != nil {
		return err
	}
	f.Addresses, f.silent = append(f.Addresses, listener.Addr().String()), append(f.silent, listener)
	f.running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			f.mu.Lock()
			f.held = append(f.held, conn)
			f.mu.Unlock()
			f.running.Go(func() { f.drain(conn) })
		}
	})
	return nil
}

// drain reads what a client says until it leaves.
func (f *Field) drain(conn net.Conn) {
	buffer := make([]byte, 512)
	for {
		if _, err := conn.Read(buffer); err != nil {
			_ = conn.Close()
			return
		}
	}
}

// Close ends the silent ones.
func (f *Field) Close() error {
	var err error
	for _, listener := range f.silent {
		err = errors.Join(err, listener.Close())
	}
	f.mu.Lock()
	for _, conn := range f.held {
		_ = conn.Close() // a second time, for most
	}
	f.mu.Unlock()
	f.running.Wait()
	return err
}
