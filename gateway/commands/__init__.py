"""What a person can type after `offhook`: one file per command, output for people, exit codes for scripts."""
