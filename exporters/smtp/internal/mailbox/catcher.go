package mailbox

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/exporters/smtp/internal/mark"
)

// API is how the HTTP API of a mail catcher is reached.
type API struct {
	URL        string // without the path of the API
	ServerName string // that the certificate must hold; the URL's where empty
	Roots      *x509.CertPool
	Username   string
	Password   func() (string, error) // nil: none
}

// api is an API in use.
type api struct {
	API
	client *http.Client
}

func (a API) open() api {
	transport := &http.Transport{
		TLSClientConfig:        &tls.Config{ServerName: a.ServerName, RootCAs: a.Roots, MinVersion: tls.VersionTLS12},
		MaxIdleConns:           1,
		IdleConnTimeout:        time.Minute,
		MaxResponseHeaderBytes: maxHeader,
	}
	return api{API: a, client: &http.Client{
		Transport: transport,
		// A password goes to nobody but who is configured.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// call sends a request and, unless into is nil, reads the JSON of the answer into it.
func (a api) call(ctx context.Context, method, path string, body []byte, into any) error {
	request, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(a.URL, "/")+path, bytes.NewReader(body))
	if err != nil {
		return fault.Wrap(fault.Config, "", err)
	}
	if a.Password != nil {
		password, err := a.Password()
		if err != nil {
			return fault.Wrap(fault.Config, "", err)
		}
		request.SetBasicAuth(a.Username, password)
	}
	answer, err := a.client.Do(request)
	if err != nil {
		return fault.Wrap(fault.Of(err), "ask the mail catcher", err)
	}
	defer func() { _ = answer.Body.Close() }() // it was only read
	limited := &io.LimitedReader{R: answer.Body, N: maxAnswers}
	if err := refusal(answer.StatusCode); err != nil {
		return err
	}
	if into == nil {
		_, err := io.Copy(io.Discard, limited)
		return fault.Wrap(fault.Of(err), "read the mail catcher's answer", err)
	}
	err = json.NewDecoder(limited).Decode(into)
	switch {
	case err == nil:
		return nil
	case limited.N == 0:
		return fault.New(fault.Limited, "the mail catcher's answer is too large")
	case ctx.Err() != nil:
		return fault.Wrap(fault.Timeout, "read the mail catcher's answer", err)
	}
	return fault.Wrap(fault.Malformed, "read the mail catcher's answer", err)
}

// errNotThere is the status for what there is not.
var errNotThere = errors.New("not found")

func refusal(status int) error {
	text := fmt.Sprintf("the mail catcher answers with status %d", status)
	switch {
	case status == http.StatusOK:
		return nil
	case status == http.StatusUnauthorized:
		return fault.New(fault.Auth, text)
	case status == http.StatusForbidden:
		return fault.New(fault.Denied, text)
	case status == http.StatusNotFound:
		return fault.Wrap(fault.Config, text, errNotThere)
	case status >= http.StatusInternalServerError:
		return fault.New(fault.Unreachable, text)
	}
	return fault.New(fault.Malformed, text)
}

// Wait sleeps.
func (a api) Wait(ctx context.Context, pause time.Duration, wake <-chan struct{}) error {
	return sleep(ctx, pause, wake)
}

// Close gives kept connections back.
func (a api) Close() { a.client.CloseIdleConnections() }

// search is the query for all messages of a round trip.
func search(path string, parameters ...string) string {
	query := make(url.Values)
	for i := 0; i+1 < len(parameters); i += 2 {
		query.Set(parameters[i], parameters[i+1])
	}
	query.Set("limit", strconv.Itoa(maxMessages))
	return path + "?" + query.Encode()
}

// usable tells whether what came as the id of a message can be one. An empty one would stand for all messages.
func usable(id string) bool {
	return id != "" && len(id) <= 200 && !strings.ContainsAny(id, "/?#%\\ ") && strings.Trim(id, ".") != ""
}

// Mailpit is a mailbox in Mailpit.
type Mailpit struct {
	API
	Marks *mark.Signer
}

type mailpitSession struct {
	api
	marks *mark.Signer
}

// Open does not connect yet.
func (b *Mailpit) Open(context.Context) (Session, error) {
	return &mailpitSession{api: b.open(), marks: b.Marks}, nil
}

// Look searches, and asks for the headers of what it finds.
func (s *mailpitSession) Look(ctx context.Context) ([]Found, error) {
	var answer struct {
		Messages *[]struct {
			ID string `json:"ID"`
		} `json:"messages"`
	}
	if err := s.call(ctx, http.MethodGet, search("/api/v1/search", "query", "subject:"+s.marks.Word()), nil, &answer); err != nil {
		return nil, err
	}
	if answer.Messages == nil {
		return nil, fault.New(fault.Malformed, "the answer is none of Mailpit")
	}
	var found []Found
	for i, message := range *answer.Messages {
		if i == maxMessages || !usable(message.ID) {
			break
		}
		var fields map[string][]string
		err := s.call(ctx, http.MethodGet, "/api/v1/message/"+url.PathEscape(message.ID)+"/headers", nil, &fields)
		if errors.Is(err, errNotThere) { // somebody has removed it
			continue
		}
		if err != nil {
			return nil, err
		}
		header := mark.HeaderOf(fields)
		if token, ok := s.marks.Read(header); ok {
			found = append(found, Found{Token: token, Header: header, id: message.ID})
		}
	}
	return found, nil
}

// Remove removes messages by their ids. Mailpit takes an empty list for all messages.
func (s *mailpitSession) Remove(ctx context.Context, messages []Found) (int, error) {
	if len(messages) == 0 {
		return 0, nil
	}
	var list struct {
		IDs []string `json:"IDs"`
	}
	for _, message := range messages {
		list.IDs = append(list.IDs, message.id)
	}
	body, err := json.Marshal(list)
	if err != nil {
		return 0, fault.Wrap(fault.Internal, "", err)
	}
	if err := s.call(ctx, http.MethodDelete, "/api/v1/messages", body, nil); err != nil {
		return 0, err
	}
	return len(messages), nil
}

// MailHog is a mailbox in MailHog.
type MailHog struct {
	API
	Marks *mark.Signer
}

type mailHogSession struct {
	api
	marks *mark.Signer
}

// Open does not connect yet.
func (b *MailHog) Open(context.Context) (Session, error) {
	return &mailHogSession{api: b.open(), marks: b.Marks}, nil
}

// Look searches. What is found comes whole.
func (s *mailHogSession) Look(ctx context.Context) ([]Found, error) {
	var answer struct {
		Items *[]struct {
			ID      string
			Content struct{ Headers map[string][]string }
		} `json:"items"`
	}
	path := search("/api/v2/search", "kind", "containing", "query", s.marks.Word())
	if err := s.call(ctx, http.MethodGet, path, nil, &answer); err != nil {
		return nil, err
	}
	if answer.Items == nil {
		return nil, fault.New(fault.Malformed, "the answer is none of MailHog")
	}
	var found []Found
	for i, item := range *answer.Items {
		if i == maxMessages || !usable(item.ID) {
			break
		}
		header := mark.HeaderOf(item.Content.Headers)
		if token, ok := s.marks.Read(header); ok {
			found = append(found, Found{Token: token, Header: header, id: item.ID})
		}
	}
	return found, nil
}

// Remove removes messages one by one.
func (s *mailHogSession) Remove(ctx context.Context, messages []Found) (int, error) {
	for i, message := range messages {
		if err := s.call(ctx, http.MethodDelete, "/api/v1/messages/"+url.PathEscape(message.id), nil, nil); err != nil {
			return i, err
		}
	}
	return len(messages), nil
}
