"""The executor `celery`: a broker delivers messages, and the worker of Celery hosts an agent."""
