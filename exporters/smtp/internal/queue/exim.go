package queue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
)

// EximSpool reads the folder of Exim's queue, mostly /var/spool/exim4: for root, the user of Exim and its group alone.
// Its queues are "queued" and, for what is tried no more, "frozen". Queues that have names of their own count too. The
// bytes are those of bodies: headers are kept with the envelope.
type EximSpool struct{ Path string }

// Read looks into each message's file with the envelope.
func (s EximSpool) Read(ctx context.Context) (Queues, error) {
	queues, now := newQueues("queued", "frozen"), time.Now()
	root, err := os.OpenRoot(s.Path)
	if err != nil {
		return nil, fault.Wrap(fileKind(err), "opening the spool", err)
	}
	defer root.Close() //nolint:errcheck // nothing was written
	inputs, err := eximInputs(root)
	for _, input := range inputs {
		if err != nil {
			break
		}
		w := walker{root, func(path string, _ fs.DirEntry) error {
			base, isEnvelope := strings.CutSuffix(path, "-H")
			if !isEnvelope {
				return nil
			}
			if err := queues.full(); err != nil {
				return err
			}
			return readEximFile(root, base, queues, now)
		}}
		err = w.walk(ctx, input, 1)
	}
	if err != nil {
		return nil, fault.Wrap(spoolKind(ctx, err), "reading the spool", err)
	}
	return queues, nil
}

// eximInputs lists the folder of the queue and those of named queues, which lie beside it.
func eximInputs(root *os.Root) ([]string, error) {
	inputs := []string{"input"}
	entries, err := fs.ReadDir(root.FS(), ".")
	for _, entry := range entries {
		if info, err := root.Stat(entry.Name() + "/input"); err == nil && info.IsDir() {
			inputs = append(inputs, entry.Name()+"/input")
		}
	}
	return inputs, err
}

// readEximFile counts a message. The fourth line of its envelope begins with when it came; a line "-frozen" tells that it
// is tried no more. The list of those who got it already, or the recipients, follow the lines that begin with a hyphen.
func readEximFile(root *os.Root, base string, queues Queues, now time.Time) error {
	text, there, err := head(root, base+"-H", 64<<10)
	if err != nil || !there {
		return err
	}
	lines := bytes.Split(text, []byte("\n"))
	if len(lines) < 5 {
		return nil // it is being written
	}
	when, _, _ := strings.Cut(string(lines[3]), " ")
	arrived, err := strconv.ParseInt(when, 10, 64)
	if err != nil || arrived <= 0 {
		return fault.Wrap(fault.Malformed, "reading an envelope", fmt.Errorf("it does not say when the message came: %w", err))
	}
	queue := queues["queued"]
	for _, line := range lines[4:] {
		if !bytes.HasPrefix(line, []byte("-")) {
			break
		}
		if bytes.HasPrefix(line, []byte("-frozen")) {
			queue = queues["frozen"]
		}
	}
	data, err := root.Stat(base + "-D")
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil // it has just been delivered
	case err != nil:
		return err
	}
	queue.add(data.Size(), time.Unix(arrived, 0), now)
	return nil
}
