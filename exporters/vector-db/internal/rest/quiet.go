//go:build linux || darwin

package rest

import (
	"crypto/tls"
	"errors"
	"net"
	"syscall"
)

// quiet tells whether nothing has come over an idle connection: neither its end nor what nobody has asked for, which
// would be taken for the next answer.
func quiet(conn net.Conn) bool {
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	below, ok := conn.(syscall.Conn)
	if !ok {
		return true // it cannot be told
	}
	raw, err := below.SyscallConn()
	if err != nil {
		return false
	}
	nothing := false
	err = raw.Read(func(fd uintptr) bool {
		var one [1]byte
		_, _, err := syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK) // which does not wait, as Go's sockets never do
		nothing = errors.Is(err, syscall.EAGAIN)
		return true
	})
	return err == nil && nothing
}
