package mark

import (
	"net/textproto"
	"strings"
)

// Fields are the fields of a header that anything is made of, in their canonical form.
func Fields() []string {
	return []string{"Subject", "Message-Id", "Auto-Submitted", "In-Reply-To", "Received", "Authentication-Results"}
}

// maxValues is how many fields of one name are kept.
const maxValues = 100

// Header is what a message's header says in Fields, in order.
type Header map[string][]string

// First gives the first value of a field, "" where there is none.
func (h Header) First(name string) string {
	if values := h[name]; len(values) > 0 {
		return values[0]
	}
	return ""
}

// add keeps a value of a field if it is one of Fields.
func (h Header) add(name, value string) {
	name = textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(name))
	for _, wanted := range Fields() {
		if name == wanted && len(h[name]) < maxValues {
			h[name] = append(h[name], strings.TrimSpace(value))
		}
	}
}

// ParseHeader reads the header of a message up to the first empty line. What is no field is passed over: other people's
// mail is not always well made.
func ParseHeader(text []byte) Header {
	h := make(Header)
	var name, value string
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			break
		}
		if line[0] == ' ' || line[0] == '\t' {
			value += " " + strings.TrimSpace(line)
			continue
		}
		h.add(name, value)
		name, value, _ = strings.Cut(line, ":")
	}
	h.add(name, value)
	return h
}

// HeaderOf takes the fields of a header that somebody else has parsed.
func HeaderOf(fields map[string][]string) Header {
	h := make(Header)
	for name, values := range fields {
		for _, value := range values {
			h.add(name, strings.NewReplacer("\r", "", "\n", " ").Replace(value))
		}
	}
	return h
}
