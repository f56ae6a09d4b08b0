"""The shell: owns the loop, the sockets, the files and the settings; decides nothing about calls."""
