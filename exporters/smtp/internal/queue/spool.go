package queue

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
)

// maxDepth is how deep folders of a queue lie in each other: Postfix' hash_queue_depth is mostly 1.
const maxDepth = 4

// PostfixSpool reads the folders of Postfix' queue, mostly below /var/spool/postfix: for root or the user of Postfix
// alone.
type PostfixSpool struct{ Path string }

// Read looks into each message's file for when it arrived and how large it is.
func (s PostfixSpool) Read(ctx context.Context) (Queues, error) {
	queues, now := postfixQueues(), time.Now()
	queues["corrupt"] = newQueues("corrupt")["corrupt"]
	root, err := os.OpenRoot(s.Path)
	if err != nil {
		return nil, fault.Wrap(fileKind(err), "opening the spool", err)
	}
	defer root.Close() //nolint:errcheck // nothing was written
	for name, queue := range queues {
		w := walker{root, func(path string, entry fs.DirEntry) error {
			info, err := entry.Info()
			if errors.Is(err, fs.ErrNotExist) || err == nil && info.Mode()&0o100 == 0 { // gone, or not whole yet
				return nil
			}
			if err == nil {
				err = queues.full()
			}
			if err != nil {
				return err
			}
			return readPostfixFile(root, path, info, queue, now)
		}}
		if err := w.walk(ctx, name, maxDepth); err != nil {
			return nil, fault.Wrap(spoolKind(ctx, err), "reading the spool", err)
		}
	}
	return queues, nil
}

func spoolKind(ctx context.Context, err error) fault.Kind {
	if ctx.Err() != nil {
		return fault.Timeout
	}
	return fileKind(err)
}

// walker looks through folders for the regular files in them.
type walker struct {
	root *os.Root
	each func(path string, entry fs.DirEntry) error
}

// walk looks through a folder and those in it. What vanishes meanwhile is skipped: mail moves all the time. The folder
// itself must be there.
func (w walker) walk(ctx context.Context, path string, depth int) error {
	folder, err := w.root.Open(path)
	if err != nil {
		return err
	}
	defer folder.Close() //nolint:errcheck // nothing was written
	for err == nil {
		var entries []fs.DirEntry
		entries, err = folder.ReadDir(1000)
		for _, entry := range entries {
			if err := w.visit(ctx, path+"/"+entry.Name(), entry, depth); err != nil {
				return err
			}
		}
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func (w walker) visit(ctx context.Context, path string, entry fs.DirEntry, depth int) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case entry.IsDir() && depth > 0:
		if err := w.walk(ctx, path, depth-1); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	case entry.Type().IsRegular():
		return w.each(path, entry)
	}
	return nil
}

// head reads the begin of a file; false where it is gone.
func head(root *os.Root, path string, most int64) ([]byte, bool, error) {
	file, err := root.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	defer file.Close() //nolint:errcheck // nothing was written
	text, err := io.ReadAll(io.LimitReader(file, most))
	return text, err == nil, err
}

// readPostfixFile counts a message. Its first records say its size and when it arrived; what is corrupt may have none.
func readPostfixFile(root *os.Root, path string, info fs.FileInfo, queue *Queue, now time.Time) error {
	text, there, err := head(root, path, 512)
	if err != nil || !there {
		return err
	}
	size, arrived := readRecords(text)
	if size < 0 {
		size = info.Size()
	}
	if arrived.IsZero() {
		arrived = info.ModTime()
	}
	queue.add(size, arrived, now)
	return nil
}

// readRecords reads the first records of a message's file, of which each has a letter, a length and a text: C is for the
// size, T for the time. Size is -1 and arrived zero where there are none.
func readRecords(text []byte) (size int64, arrived time.Time) {
	size = -1
	for len(text) >= 2 {
		kind, length, begin := text[0], 0, 1
		for shift := 0; begin < len(text) && shift <= 28; shift += 7 { // seven bits a byte, the low ones first
			length |= int(text[begin]&0x7f) << shift
			if begin++; text[begin-1]&0x80 == 0 {
				break
			}
		}
		if length > len(text)-begin {
			break
		}
		first, _, _ := strings.Cut(strings.TrimLeft(string(text[begin:begin+length]), " "), " ")
		text = text[begin+length:]
		number, err := strconv.ParseInt(first, 10, 64)
		switch {
		case err != nil || number <= 0:
		case kind == 'C' && size < 0:
			size = number
		case kind == 'T':
			return size, time.Unix(number, 0) // the size comes before
		}
	}
	return size, arrived
}
