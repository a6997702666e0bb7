package dialogue

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Limits of a transcript.
const (
	maxTranscript = 500
	maxText       = 512
)

// note keeps a line of the transcript, where one is wanted.
func (d *Dialogue) note(from byte, text string) {
	if !d.plan.Transcript {
		return
	}
	if len(d.report.Transcript) >= maxTranscript {
		d.report.TranscriptEnded = true
		return
	}
	d.report.Transcript = append(d.report.Transcript, Line{At: time.Since(d.report.Begun), From: from, Text: d.presentable(text)})
}

// noteReply keeps the lines of a reply as they came.
func (d *Dialogue) noteReply(r reply, whole bool) {
	for i, line := range r.lines {
		between := "-"
		if whole && i == len(r.lines)-1 {
			between = " "
		}
		d.note('S', strconv.Itoa(r.code)+between+line)
	}
}

// hide has no text show a secret from now on.
func (d *Dialogue) hide(secret string) {
	if secret != "" {
		d.secrets = append(d.secrets, secret)
	}
}

// presentable masks secrets, which a server may repeat, and leaves nothing that a terminal or a page could take for
// more than text.
func (d *Dialogue) presentable(text string) string {
	for _, secret := range d.secrets {
		text = strings.ReplaceAll(text, secret, "<secret>")
	}
	if len(text) > maxText {
		text = text[:maxText] + "…"
	}
	return strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
}

// WriteTranscript writes what was said, with the time of each line, for a person to read.
func (r *Report) WriteTranscript(to io.Writer) error {
	var b strings.Builder
	for _, line := range r.Transcript {
		fmt.Fprintf(&b, "%10.1f ms  %c  %s\n", float64(line.At.Microseconds())/1000, line.From, line.Text)
	}
	if r.TranscriptEnded {
		b.WriteString("               …\n")
	}
	_, err := io.WriteString(to, b.String())
	return err
}
