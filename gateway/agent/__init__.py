"""The local agent: a server of the OpenAI Realtime wire that needs no account (`offhook agent`)."""
