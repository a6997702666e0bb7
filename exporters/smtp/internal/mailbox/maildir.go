package mailbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/exporters/smtp/internal/mark"
)

// maxFiles is how many messages a folder of a Maildir may hold.
const maxFiles = 10_000

// Maildir is a mailbox on disk.
type Maildir struct {
	Path    string
	Folders []string // INBOX is the mailbox itself, Junk the folder .Junk in it; empty: INBOX
	Marks   *mark.Signer
}

// Open does nothing yet.
func (b *Maildir) Open(context.Context) (Session, error) {
	return &maildirSession{box: b, foreign: make(map[string]bool)}, nil
}

type maildirSession struct {
	box     *Maildir
	foreign map[string]bool // paths of messages that are known to be none of ours
}

func (b *Maildir) folders() []string {
	if len(b.Folders) == 0 {
		return []string{"INBOX"}
	}
	return b.Folders
}

// open opens a folder in such a way that nothing outside of it can be reached.
func (b *Maildir) open(folder string) (*os.Root, error) {
	path := b.Path
	if folder != "INBOX" {
		path = filepath.Join(path, "."+folder)
	}
	root, err := os.OpenRoot(path)
	return root, judgeFile("open the Maildir", err)
}

func judgeFile(op string, err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fault.Wrap(fault.Denied, op, err)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return fault.Wrap(fault.Config, op, err)
	case err == nil:
		return nil
	}
	return fault.Wrap(fault.Unreachable, op, err)
}

// Look reads the headers of messages that it does not know yet.
func (s *maildirSession) Look(ctx context.Context) ([]Found, error) {
	known := s.foreign
	s.foreign = make(map[string]bool)
	var all []Found
	for _, folder := range s.box.folders() {
		found, err := s.lookIn(ctx, folder, known)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

func (s *maildirSession) lookIn(ctx context.Context, folder string, known map[string]bool) ([]Found, error) {
	root, err := s.box.open(folder)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }() // nothing is written through it
	var found []Found
	for _, part := range []string{"new", "cur"} {
		names, err := list(root, part)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			key := folder + "/" + unique(name)
			if known[key] {
				s.foreign[key] = true
				continue
			}
			if ctx.Err() != nil {
				return nil, fault.Wrap(fault.Timeout, "read the Maildir", ctx.Err())
			}
			if message, ok := s.read(root, filepath.Join(part, name)); ok {
				message.Folder = folder
				found = append(found, message)
			} else {
				s.foreign[key] = true
			}
		}
	}
	return found, nil
}

// unique is the part of a name that stays when flags change.
func unique(name string) string {
	base, _, _ := strings.Cut(name, ":")
	return base
}

// list gives the names of the messages in a part of a folder.
func list(root *os.Root, part string) ([]string, error) {
	dir, err := root.Open(part)
	if err != nil {
		return nil, judgeFile("open the Maildir", err)
	}
	defer func() { _ = dir.Close() }() // it was only read
	entries, err := dir.ReadDir(maxFiles + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, judgeFile("list the Maildir", err)
	}
	if len(entries) > maxFiles {
		return nil, fault.New(fault.Limited, fmt.Sprintf("the Maildir holds more than %d messages", maxFiles))
	}
	var names []string
	for _, entry := range entries {
		if entry.Type().IsRegular() {
			names = append(names, entry.Name())
		}
	}
	return names, nil
}

// read reads a message. One that has gone meanwhile, or that we may not read, is none of ours.
func (s *maildirSession) read(root *os.Root, path string) (Found, bool) {
	file, err := root.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // should it be a pipe by now
	if err != nil {
		return Found{}, false
	}
	defer func() { _ = file.Close() }() // it was only read
	text, err := io.ReadAll(io.LimitReader(file, maxHeader))
	if err != nil {
		return Found{}, false
	}
	header := mark.ParseHeader(text)
	token, ok := s.box.Marks.Read(header)
	return Found{Token: token, Header: header, id: path}, ok
}

// Remove removes files. One that has gone is not counted.
func (s *maildirSession) Remove(_ context.Context, messages []Found) (int, error) {
	removed := 0
	for _, message := range messages {
		root, err := s.box.open(message.Folder)
		if err != nil {
			return removed, err
		}
		err = root.Remove(message.id)
		_ = root.Close()
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return removed, judgeFile("remove messages of ours", err)
		}
		if err == nil {
			removed++
		}
	}
	return removed, nil
}

// Wait sleeps.
func (s *maildirSession) Wait(ctx context.Context, pause time.Duration, wake <-chan struct{}) error {
	return sleep(ctx, pause, wake)
}

// Close does nothing: no file stays open.
func (s *maildirSession) Close() {}
