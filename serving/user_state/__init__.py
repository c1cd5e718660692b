"""What is known of users now: one interface, `souk_client.user_state.UserState`, and its stores."""
