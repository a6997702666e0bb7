package servers

import (
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// doorway forwards connections to ports of the loopback address of another process's network, for servers that would
// listen on all addresses of the machine if they were not given a network of their own.
type doorway struct {
	pid       int
	listeners []net.Listener
	running   sync.WaitGroup

	mu     sync.Mutex
	open   []net.Conn
	closed bool
}

// openDoorway forwards each port of our loopback address to the same port of the process's.
func openDoorway(pid int, ports ...int) (*doorway, error) {
	d := &doorway{pid: pid}
	for _, port := range ports {
		listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			d.close()
			return nil, err
		}
		d.listeners = append(d.listeners, listener)
		d.running.Go(func() { d.accept(listener, port) })
	}
	return d, nil
}

func (d *doorway) accept(listener net.Listener, port int) {
	for {
		outside, err := listener.Accept()
		if err != nil {
			return
		}
		d.running.Go(func() { d.forward(outside, port) })
	}
}

// forward copies both ways until either side is done with writing and reading.
func (d *doorway) forward(outside net.Conn, port int) {
	inside, err := dialIn(d.pid, port)
	if err != nil || !d.keep(outside, inside) {
		_ = outside.Close() // the client sees a server that does not answer, as it would without us
		return
	}
	var both sync.WaitGroup
	for _, pair := range [][2]net.Conn{{outside, inside}, {inside, outside}} {
		both.Go(func() {
			_, _ = io.Copy(pair[0], pair[1]) // an end of either kind is passed on
			_ = pair[0].(*net.TCPConn).CloseWrite()
		})
	}
	both.Wait()
	_, _ = outside.Close(), inside.Close()
}

// keep remembers connections, to be ended with the doorway.
func (d *doorway) keep(connections ...net.Conn) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open = append(d.open, connections...)
	return !d.closed
}

func (d *doorway) close() {
	for _, listener := range d.listeners {
		_ = listener.Close()
	}
	d.mu.Lock()
	d.closed = true
	for _, connection := range d.open {
		_ = connection.Close()
	}
	d.mu.Unlock()
	d.running.Wait()
}

// dialIn connects to a port of the loopback address of a process's network. A socket belongs for ever to the network
// of the thread that makes it; the thread ends with the goroutine, as it is never unlocked.
func dialIn(pid, port int) (connection net.Conn, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		var network *os.File
		if network, err = os.Open(fmt.Sprintf("/proc/%d/ns/net", pid)); err != nil {
			return
		}
		defer network.Close()
		if err = unix.Setns(int(network.Fd()), unix.CLONE_NEWNET); err != nil {
			return
		}
		connection, err = net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	}()
	<-done
	return connection, err
}
