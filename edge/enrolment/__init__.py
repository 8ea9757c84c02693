"""The enrolment endpoint: gives units their certificates, for keys that they made themselves."""
