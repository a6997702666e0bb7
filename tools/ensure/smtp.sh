# shellcheck shell=bash
# Mail servers: Postfix with Dovecot, Exim, Mailpit, MailHog.

mailpit_version=v1.27.11

# unpack_mail NAME PACKAGE... unpacks servers, and all that they stand on, into the root .cache/mail/NAME, in which they
# run (chroot): mail servers are many programs that start each other under fixed paths and as users of their own, which
# are the root's and not the system's.
unpack_mail() {
	local folder=$cache/mail/$1
	shift
	[ ! -e "$folder/etc/passwd" ] || return 0
	need_root "unpacking mail servers"
	unpack_newer bookworm "$folder" "$@"
	mkdir -p "$folder"/{dev,etc,tmp,srv} "$folder/var/empty"
	chmod 1777 "$folder/tmp"
	mknod -m 666 "$folder/dev/null" c 1 3
	mknod -m 666 "$folder/dev/urandom" c 1 9
	printf '%s\n' "127.0.0.1 localhost" "::1 localhost" >"$folder/etc/hosts"
	mail_users "$folder/etc"
}

# mail_users FOLDER writes the users of a root. What is there at the end shows that the root is whole.
mail_users() {
	local name id=2000
	echo "root:x:0:" >"$1/group"
	echo "root:x:0:0::/:/bin/sh" >"$work/passwd"
	for name in nobody nogroup mail vmail postfix postdrop dovecot dovenull Debian-exim; do
		id=$((id + 1))
		echo "$name:x:$id:" >>"$1/group"
		echo "$name:x:$id:$id::/var/empty:/usr/sbin/nologin" >>"$work/passwd"
	done
	mv "$work/passwd" "$1/passwd"
}

ensure_postfix() {
	unpack_mail postfix postfix dovecot-imapd dovecot-pop3d dovecot-lmtpd
	here+=("Postfix, Dovecot")
}

ensure_exim() {
	unpack_mail exim exim4-daemon-light
	here+=("Exim")
}

ensure_mailpit() {
	compile mailpit $mailpit_version github.com/axllent/mailpit
	here+=("Mailpit $mailpit_version")
}

# One module that MailHog stands on is not to be had any more. It slows connections down when MailHog is asked to
# play a bad network; tools/ensure/mailhog puts one in its place that does not. All else is MailHog itself.
ensure_mailhog() {
	local program=$cache/tools/mailhog
	if [ ! -x "$program" ]; then
		command -v go >/dev/null || die "MailHog is compiled, which needs Go"
		say "compiling MailHog 1.0.1 into .cache/tools"
		(cd "$root/tools/ensure/mailhog" && quietly env GOWORK=off GOFLAGS= nice go build -ldflags "-X main.version=1.0.1" \
			-o "$work/mailhog" github.com/mailhog/MailHog) || die "MailHog could not be compiled"
		mv "$work/mailhog" "$program"
	fi
	here+=("MailHog 1.0.1")
}

ensure_smtp() {
	ensure_postfix
	ensure_exim
	ensure_mailpit
	ensure_mailhog
}

ensure_smtp_peer() {
	[ -x "$cache/peer/blackbox_exporter" ] || unpack_peer blackbox_exporter prometheus-blackbox-exporter forky=0.28.0 trixie=0.26.0
	here+=("$("$cache/peer/blackbox_exporter" --version 2>&1 | grep -om1 '^blackbox_exporter, version [0-9.]*')")
}
