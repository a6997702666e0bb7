package mailbox

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/exporters/smtp/internal/dialogue"
	"github.com/alfred-agent-platform/backend-exporters/exporters/smtp/internal/mark"
)

// idleFrom is the shortest pause for which IDLE is begun: servers tell news only half a second later, so that asking
// again is faster at first.
const idleFrom = time.Second

// maxNumbers is how much a server may send before it is asked for headers, in bytes. Long lists of numbers cost the
// library time that grows with their square.
const maxNumbers = 256 << 10

// IMAP is a mailbox with folders on a server.
type IMAP struct {
	Account
	Folders []string // empty: INBOX
	Marks   *mark.Signer
}

type imapSession struct {
	box      *IMAP
	wire     *wire
	client   *imapclient.Client
	caps     imap.CapSet
	folder   string // selected, "" before the first
	validity map[string]uint32
	changed  chan struct{}
}

// Open logs in.
func (b *IMAP) Open(ctx context.Context) (Session, error) {
	w, conn, err := b.dial(ctx)
	if err != nil {
		return nil, err
	}
	s := &imapSession{box: b, wire: w, validity: make(map[string]uint32), changed: make(chan struct{}, 1)}
	options := &imapclient.Options{
		TLSConfig:             b.tls(),
		UnilateralDataHandler: &imapclient.UnilateralDataHandler{Mailbox: s.note},
	}
	defer w.bind(ctx)()
	if b.TLS == dialogue.StartTLS {
		if s.client, err = imapclient.NewStartTLS(conn, options); err != nil {
			_ = w.Close()
			return nil, w.judge(ctx, fault.Unreachable, "begin TLS with the mailbox", err)
		}
	} else {
		s.client = imapclient.New(conn, options)
	}
	if err := s.login(ctx); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// note is told of what the server says unasked.
func (s *imapSession) note(data *imapclient.UnilateralDataMailbox) {
	if data.NumMessages == nil {
		return
	}
	select {
	case s.changed <- struct{}{}:
	default: // it is known already
	}
}

func (s *imapSession) login(ctx context.Context) error {
	password, err := s.box.Password()
	if err != nil {
		return fault.Wrap(fault.Config, "", err)
	}
	if err := s.client.WaitGreeting(); err != nil {
		return s.wire.judge(ctx, fault.Malformed, "greeting of the mailbox", err)
	}
	if err := s.client.Login(s.box.Username, password).Wait(); err != nil {
		return s.judge(ctx, fault.Auth, "log in to the mailbox", err)
	}
	s.caps = s.client.Caps()
	return nil
}

// judge tells a refusal from an answer that cannot be read.
func (s *imapSession) judge(ctx context.Context, refused fault.Kind, op string, err error) error {
	var answer *imap.Error
	if errors.As(err, &answer) && answer.Type == imap.StatusResponseTypeNo {
		return s.wire.judge(ctx, refused, op, err)
	}
	return s.wire.judge(ctx, fault.Malformed, op, err)
}

func (s *imapSession) folders() []string {
	if len(s.box.Folders) == 0 {
		return []string{"INBOX"}
	}
	return s.box.Folders
}

// Look searches all folders.
func (s *imapSession) Look(ctx context.Context) ([]Found, error) {
	defer s.wire.bind(ctx)()
	select {
	case <-s.changed:
	default: // nothing was told
	}
	var all []Found
	for _, folder := range s.folders() {
		found, err := s.lookIn(ctx, folder)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

func (s *imapSession) lookIn(ctx context.Context, folder string) ([]Found, error) {
	s.wire.meter.Allow(maxNumbers)
	if err := s.enter(ctx, folder); err != nil {
		return nil, err
	}
	// A server need not show what is new in a selected folder before NOOP. Both are sent at once.
	noop := s.client.Noop()
	search := s.client.UIDSearch(&imap.SearchCriteria{
		Header:  []imap.SearchCriteriaHeaderField{{Key: "Subject", Value: s.box.Marks.Word()}},
		NotFlag: []imap.Flag{imap.FlagDeleted},
	}, nil)
	if err := noop.Wait(); err != nil {
		return nil, s.judge(ctx, fault.Denied, "refresh the mailbox", err)
	}
	data, err := search.Wait()
	if err != nil {
		return nil, s.judge(ctx, fault.Denied, "search the mailbox", err)
	}
	numbers := newest(data.All)
	if len(numbers) == 0 {
		return nil, nil
	}
	return s.fetch(ctx, folder, numbers)
}

// enter selects a folder. That its numbers stay what they are is checked before anything is removed by them.
func (s *imapSession) enter(ctx context.Context, folder string) error {
	if s.folder == folder {
		return nil
	}
	data, err := s.client.Select(folder, nil).Wait()
	if err != nil {
		return s.judge(ctx, fault.Config, "open the folder "+folder, err)
	}
	s.folder = folder
	if known, ok := s.validity[folder]; ok && known != data.UIDValidity {
		return fault.New(fault.Busy, "the folder "+folder+" was made anew")
	}
	s.validity[folder] = data.UIDValidity
	return nil
}

// newest gives the highest numbers of a set, as many as are looked at. A set can claim to hold four thousand million.
func newest(set imap.NumSet) []imap.UID {
	ranges, _ := set.(imap.UIDSet)
	slices.SortFunc(ranges, func(a, b imap.UIDRange) int { return int(int64(b.Stop) - int64(a.Stop)) })
	var numbers []imap.UID
	for _, r := range ranges {
		for number := r.Stop; number >= r.Start && number > 0 && len(numbers) < maxMessages; number-- {
			numbers = append(numbers, number)
		}
	}
	return numbers
}

func (s *imapSession) fetch(ctx context.Context, folder string, numbers []imap.UID) ([]Found, error) {
	s.wire.meter.Allow(maxAnswers)
	section := &imap.FetchItemBodySection{
		Specifier: imap.PartSpecifierHeader, HeaderFields: mark.Fields(), Peek: true,
		Partial: &imap.SectionPartial{Size: maxHeader},
	}
	messages, err := s.client.Fetch(imap.UIDSetNum(numbers...), &imap.FetchOptions{
		UID: true, BodySection: []*imap.FetchItemBodySection{section},
	}).Collect()
	var answer *imap.Error
	gone := errors.As(err, &answer) && answer.Code == "EXPUNGEISSUED" // some, after they were searched for
	if err != nil && !gone {
		return nil, s.judge(ctx, fault.Denied, "read the mailbox", err)
	}
	var found []Found
	for _, message := range messages {
		if !slices.Contains(numbers, message.UID) || len(message.BodySection) != 1 {
			continue // not asked for
		}
		header := mark.ParseHeader(message.BodySection[0].Bytes)
		if token, ok := s.box.Marks.Read(header); ok {
			found = append(found, Found{Token: token, Header: header, Folder: folder, number: uint32(message.UID)})
		}
	}
	return found, nil
}

// Remove removes messages for good where the server can remove single ones. Where it cannot they are marked as deleted:
// to remove them would remove what its owner has marked, too.
func (s *imapSession) Remove(ctx context.Context, messages []Found) (int, error) {
	defer s.wire.bind(ctx)()
	s.wire.meter.Allow(maxNumbers)
	removed := 0
	for _, folder := range s.folders() {
		var set imap.UIDSet
		for _, message := range messages {
			if message.Folder == folder {
				set.AddNum(imap.UID(message.number))
				removed++
			}
		}
		if len(set) == 0 {
			continue
		}
		if err := s.removeFrom(ctx, folder, set); err != nil {
			return 0, err
		}
	}
	return removed, nil
}

func (s *imapSession) removeFrom(ctx context.Context, folder string, set imap.UIDSet) error {
	if err := s.enter(ctx, folder); err != nil {
		return err
	}
	err := s.client.Store(set, &imap.StoreFlags{Op: imap.StoreFlagsAdd, Silent: true, Flags: []imap.Flag{imap.FlagDeleted}}, nil).Close()
	if err == nil && s.caps.Has(imap.CapUIDPlus) { // IMAP4rev2 has it, too
		err = s.client.UIDExpunge(set).Close()
	}
	return s.judge(ctx, fault.Denied, "remove messages of ours", err)
}

// Wait idles where the server offers it and there is one folder.
func (s *imapSession) Wait(ctx context.Context, pause time.Duration, wake <-chan struct{}) error {
	if pause < idleFrom || len(s.folders()) > 1 || !s.caps.Has(imap.CapIdle) {
		return sleep(ctx, pause, wake)
	}
	defer s.wire.bind(ctx)()
	s.wire.meter.Allow(maxNumbers)
	idle, err := s.client.Idle()
	if err != nil {
		return s.judge(ctx, fault.Denied, "wait for mail", err)
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-wake:
	case <-s.changed:
	case <-s.client.Closed():
	case <-ctx.Done():
	}
	if err = idle.Close(); err == nil {
		err = idle.Wait()
	}
	return s.judge(ctx, fault.Malformed, "wait for mail", err)
}

// Close hangs up. Nothing that was done depends on a farewell.
func (s *imapSession) Close() {
	if s.client != nil {
		_ = s.client.Close()
	}
	_ = s.wire.Close()
}
