if command -v systemd-sysusers >/dev/null; then
  systemd-sysusers romancy.conf
fi
if [ -d /run/systemd/system ]; then
  systemctl daemon-reload
  systemd-tmpfiles --create romancy.conf
fi
chown root:romancy /etc/romancy/romancy.toml
