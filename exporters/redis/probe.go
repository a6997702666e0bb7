package main

import (
	"errors"
	"fmt"
	"net"
	"net/url"

	"github.com/alfred-agent-platform/backend-exporters/common/app"
	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/config"
)

// prober gives the function behind /probe and /scrape, or nil where nothing says which servers they may reach: a module
// that lists them, or the addresses of the password file.
func (l loader) prober(modules map[string]authModule) (func(url.Values) (app.Probed, error), error) {
	open := len(l.passwords.of) > 0
	for name, module := range modules {
		if err := app.CheckPatterns(module.Targets); err != nil {
			return nil, fmt.Errorf("auth_modules: %s: targets: %w", name, err)
		}
		open = open || len(module.Targets) > 0
	}
	if !open || l.flags.withoutScrape {
		return nil, nil
	}
	return func(query url.Values) (app.Probed, error) { return l.probe(modules, query) }, nil
}

// probe reads the target that a query names. It may name scheme, user, host, port and database, and nothing else:
// passwords come from the module or the password file, and only for the servers that are listed there.
func (l loader) probe(modules map[string]authModule, query url.Values) (app.Probed, error) {
	text := query.Get("target")
	wanted, err := parseAddress(text)
	switch {
	case text == "":
		return app.Probed{}, errors.New("target must be given, such as target=redis://host:6379")
	case err != nil:
		return app.Probed{}, fmt.Errorf("target: %w", err)
	case wanted.network != "tcp" || wanted.password != "" || wanted.found.name != "":
		return app.Probed{}, errors.New("target must be such as redis://host:6379/0, without a password")
	}
	s := source{URI: config.SecretValue(text), Health: &writeProbe{}, Cluster: l.flags.cluster, TLS: l.flags.tls}
	if name := query.Get("auth_module"); name != "" || len(l.passwords.of) == 0 {
		module, known := modules[name]
		if !known {
			return app.Probed{}, errors.New("auth_module must name one of the configuration's auth_modules")
		}
		host, port, _ := net.SplitHostPort(wanted.address) // joined by parseAddress
		if !app.Allowed(module.Targets, host, port) {
			return app.Probed{}, app.ErrNotAllowed
		}
		s.User, s.Password, s.TLS, s.Renamed = module.UserPass.Username, module.UserPass.Password, module.TLS, module.Renamed
	} else if s.Password = l.passwords.find(s); s.Password.IsZero() && !l.passwords.lists(wanted) {
		return app.Probed{}, app.ErrNotAllowed
	}
	if keys, named, err := l.keysOf(query); err != nil {
		return app.Probed{}, err
	} else if named {
		l.options.keys, l.shared = keys, nil
	}
	s = l.complete(s)
	return app.Probed{Key: s.key() + "\x00" + query.Encode(), Describe: func() (collect.Spec, error) { return l.probed(s) }}, nil
}

// probed describes a target of /probe.
func (l loader) probed(s source) (collect.Spec, error) {
	d, spec, err := l.spec(s)
	if err != nil {
		return spec, err
	}
	d.guard = app.GuardAddress
	spec.Service = spec.Name
	return spec, nil
}

// lists tells whether the file has the address, with no password for it.
func (p passwordFile) lists(wanted *settings) bool {
	for address := range p.of {
		if known, err := parseAddress(address); err == nil && known.reaches(wanted) {
			return true
		}
	}
	return false
}

// keysOf gives the keys to look at, where the query names some and that is allowed.
func (l loader) keysOf(query url.Values) (keys keyChecks, named bool, err error) {
	f := *l.flags
	for name, to := range map[string]*string{
		"check-keys": &f.checkKeys, "check-single-keys": &f.checkSingleKeys, "count-keys": &f.countKeys,
		"check-streams": &f.checkStreams, "check-single-streams": &f.checkSingleStreams,
	} {
		if text := query.Get(name); text != "" {
			*to, named = text, true
		}
	}
	switch {
	case !named:
		return keyChecks{}, false, nil
	case !f.scrapeKeys:
		return keyChecks{}, true, errors.New("whoever may name keys can read any: to allow it, start the exporter with --scrape-keys")
	}
	keys, err = f.keyChecks()
	return keys, true, err
}
