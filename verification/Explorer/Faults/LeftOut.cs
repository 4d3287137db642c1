namespace Explorer.Faults;

/// <summary>What a driver may leave out of what makes its writes seen: on memory that hides nothing each goes unnoticed.</summary>
public enum LeftOut
{
    /// <summary>Nothing.</summary>
    Nothing,

    /// <summary>The fence between the descriptors and the tail register.</summary>
    DoorbellFence,

    /// <summary>The fence after entries of a table were written.</summary>
    TableFence,

    /// <summary>The cleaning of entries that became present.</summary>
    CleanOfPresent,

    /// <summary>The cleaning of entries that became absent.</summary>
    CleanOfAbsent,

    /// <summary>The cleaning of entries that let devices only read.</summary>
    CleanOfReadOnly,
}
