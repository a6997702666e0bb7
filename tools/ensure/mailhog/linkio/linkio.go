// Package linkio stands in for the one module of MailHog that is not to be had any more. MailHog uses it to slow
// connections down on request; here they are as fast as they are.
package linkio

import "io"

// Throughput is a speed in bits per second.
type Throughput int64

// BytePerSecond is eight bits per second.
const BytePerSecond Throughput = 8

// Link would be a slow link.
type Link struct{}

// NewLink makes a link that is not slow.
func NewLink(Throughput) *Link { return &Link{} }

// NewLinkReader returns the reader.
func (*Link) NewLinkReader(r io.Reader) io.Reader { return r }

// NewLinkWriter returns the writer.
func (*Link) NewLinkWriter(w io.Writer) io.Writer { return w }
