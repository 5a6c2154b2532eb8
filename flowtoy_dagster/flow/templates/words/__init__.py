"""What Jinja2, Python and JMESPath say of mistakes, in the words of the language."""
