package main

import (
	"crypto/tls"
	"errors"

	"github.com/alfred-agent-platform/backend-exporters/common/app"
)

// pageFlags are those of redis_exporter that say who may ask for the exporter's own pages, which the others of the suite
// leave to --web.config.file.
type pageFlags struct {
	user, password, hash                string
	passwordShown                       bool // the password is on the command line
	cert, key, clientCA, minimumVersion string
}

func (f *pageFlags) add(a adder) {
	a.flag("basic-auth-username", "BASIC_AUTH_USERNAME", "User that the exporter's pages ask for.").Hidden().StringVar(&f.user)
	a.flag("basic-auth-password", "BASIC_AUTH_PASSWORD", "Password of that user. On the command line every user of the host sees it: use the variable.").
		IsSetByUser(&f.passwordShown).Hidden().StringVar(&f.password)
	a.flag("basic-auth-hash-password", "BASIC_AUTH_HASH_PASSWORD", "The same as a bcrypt hash, instead of the password.").Hidden().StringVar(&f.hash)
	a.flag("tls-server-cert-file", "TLS_SERVER_CERT_FILE", "Certificate of the exporter's pages, which are then served by TLS; read anew at each connection.").Hidden().StringVar(&f.cert)
	a.flag("tls-server-key-file", "TLS_SERVER_KEY_FILE", "Key of that certificate.").Hidden().StringVar(&f.key)
	a.flag("tls-server-ca-cert-file", "TLS_SERVER_CA_CERT_FILE", "Certificates of the authorities that those of clients must be of, which are then asked for.").Hidden().StringVar(&f.clientCA)
	a.flag("tls-server-min-version", "TLS_SERVER_MIN_VERSION", "Oldest version of TLS for them: TLS1.0, TLS1.1, TLS1.2 or TLS1.3.").
		Default("TLS1.2").Hidden().StringVar(&f.minimumVersion)
}

// Guard gives what these flags say. Half of what is needed is refused: redis_exporter would serve open what was meant to be
// closed.
func (b *backend) Guard() (app.Guard, error) {
	f := b.flags.pages
	g := app.Guard{User: f.user, Password: f.password, Hash: f.hash, Cert: f.cert, Key: f.key, ClientCA: f.clientCA}
	versions := map[string]uint16{"TLS1.0": tls.VersionTLS10, "TLS1.1": tls.VersionTLS11, "TLS1.2": tls.VersionTLS12, "TLS1.3": tls.VersionTLS13}
	secured := f.cert != ""
	switch {
	case f.password != "" && f.hash != "":
		return g, errors.New("--basic-auth-password and --basic-auth-hash-password cannot go together: give one of them")
	case (f.user != "") != (f.password != "" || f.hash != ""):
		return g, errors.New("--basic-auth-username needs --basic-auth-password or --basic-auth-hash-password, and the other way round")
	case secured != (f.key != ""):
		return g, errors.New("--tls-server-cert-file needs --tls-server-key-file, and the other way round")
	case f.clientCA != "" && !secured:
		return g, errors.New("--tls-server-ca-cert-file needs --tls-server-cert-file and --tls-server-key-file")
	case secured && versions[f.minimumVersion] == 0:
		return g, errors.New("--tls-server-min-version must be TLS1.0, TLS1.1, TLS1.2 or TLS1.3")
	case secured:
		g.MinVersion = versions[f.minimumVersion]
	}
	return g, nil
}

var _ app.Guarded = (*backend)(nil)
