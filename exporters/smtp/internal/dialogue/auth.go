package dialogue

import (
	"cmp"
	"encoding/base64"
	"errors"
	"slices"

	"github.com/emersion/go-sasl"
)

// maxChallenges bounds how often a server may ask on before it accepts or refuses.
const maxChallenges = 8

// login authenticates with the first mechanism of the plan that the server offers.
func (d *Dialogue) login() bool {
	d.enter(Auth)
	if (d.report.TLS == nil || !d.report.TLS.Verified) && !d.plan.Auth.Exposed {
		return d.fail(ExposedPassword, reply{}, errors.New("the password is not sent: the connection is not one of verified TLS"))
	}
	client := d.mechanism()
	if client == nil {
		return d.fail(NoAuth, reply{}, errors.New("the server offers no mechanism that can be used"))
	}
	if d.plan.Auth.Spared {
		d.fail(AuthRejected, reply{}, errors.New("the server has refused this login before: it is tried again later, lest the account be locked"))
		d.report.Steps[len(d.report.Steps)-1].Spared = true
		return false
	}
	name, initial, err := client.Start()
	if err != nil {
		return d.fail(Internal, reply{}, err)
	}
	d.hide(d.plan.Auth.Password)
	command, shown := "AUTH "+name, "AUTH "+name
	if initial != nil {
		command, shown = command+" "+cmp.Or(d.encode(initial), "="), shown+" <secret>"
	}
	return d.sayShown(command, shown) && d.challenges(client)
}

// challenges answers until the server has made up its mind.
func (d *Dialogue) challenges(client sasl.Client) bool {
	for range maxChallenges {
		r, ok := d.answer()
		if !ok {
			return false
		}
		if r.code != 334 {
			return d.judged(r)
		}
		challenge, err := base64.StdEncoding.DecodeString(r.lines[0])
		if err != nil {
			return d.cancel(r, "the challenge is no base64")
		}
		response, err := client.Next(challenge)
		if err != nil {
			return d.cancel(r, "the mechanism does not go on: "+err.Error())
		}
		if !d.sayShown(d.encode(response), "<secret>") {
			return false
		}
	}
	d.speaking = false
	return d.fail(BadReply, reply{code: 334}, errors.New("the server goes on asking"))
}

// judged takes the server's last word on the credentials.
func (d *Dialogue) judged(r reply) bool {
	if slices.Contains(d.codes(Auth, 235), r.code) {
		d.leave(true, r)
		return true
	}
	return d.fail(judgeReply(Auth, r), r, errors.New(r.String()))
}

// cancel ends an exchange that cannot be carried on.
func (d *Dialogue) cancel(r reply, problem string) bool {
	d.speaking = false
	return d.fail(BadReply, r, errors.New(problem))
}

// encode writes a response as SMTP wants it, and has no text show it.
func (d *Dialogue) encode(response []byte) string {
	text := base64.StdEncoding.EncodeToString(response)
	d.hide(text)
	return text
}

// Mechanisms lists the mechanisms that credentials can be used with.
func Mechanisms() []string { return []string{"PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER"} }

func (d *Dialogue) mechanism() sasl.Client {
	wanted := d.plan.Auth.Mechanisms
	if len(wanted) == 0 {
		wanted = []string{sasl.Plain, sasl.Login}
	}
	if d.report.Hello == nil {
		return nil
	}
	user, password := d.plan.Auth.Username, d.plan.Auth.Password
	for _, name := range wanted {
		if !slices.Contains(d.report.Hello.Auth, name) {
			continue
		}
		switch name {
		case sasl.Plain:
			return sasl.NewPlainClient("", user, password)
		case sasl.Login:
			return sasl.NewLoginClient(user, password)
		case sasl.OAuthBearer:
			return oauthBearer{sasl.NewOAuthBearerClient(&sasl.OAuthBearerOptions{Username: user, Token: password})}
		case "XOAUTH2":
			return xoauth2{user, password}
		}
	}
	return nil
}

// oauthBearer is the mechanism of RFC 7628. The library's ends where the server gives its account of what is wrong with
// the token: the refusal comes after the answer to it.
type oauthBearer struct{ sasl.Client }

// Next answers the account as section 3.2.3 asks.
func (oauthBearer) Next([]byte) ([]byte, error) { return []byte{1}, nil }

// xoauth2 is the mechanism of Google and Microsoft, in which the password is a token.
type xoauth2 struct{ user, token string }

func (x xoauth2) Start() (mech string, ir []byte, err error) {
	return "XOAUTH2", []byte("user=" + x.user + "\x01auth=Bearer " + x.token + "\x01\x01"), nil
}

// Next takes the server's account of what is wrong with the token; the answer to it is empty.
func (x xoauth2) Next([]byte) ([]byte, error) { return []byte{}, nil }
