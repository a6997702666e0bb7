//go:build !linux

package dialogue

import "net"

// acknowledgeAtOnce can be asked of Linux alone.
func acknowledgeAtOnce(net.Conn) {}
