def test_x(execute, tmp_path, monkeypatch):
    monkeypatch.setenv("TO_BE_DELETED","x")
    o = execute("spoilt", "warm", folder=str(tmp_path), limit=1)
    print(o.status, o.steps, o.run_error[-3000:] if o.status!="SUCCESS" else "")
    for e in o.events:
        if e.event_type_value=="STEP_FAILURE": print(e.step_failure_data.error.to_string()[-3000:])
